//! A log line as one JSON object: time, level, message and fields side by side, with the fields of the spans around it, such as
//! the id of the request that caused it. The library's own format would bury those in a list.

use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer as _};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// One object a line.
pub(super) struct JsonLine;

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Vec::with_capacity(256);
        object(&mut line, &time, context, event).map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", String::from_utf8(line).map_err(|_| fmt::Error)?)
    }
}

fn object<S>(
    line: &mut Vec<u8>,
    time: &str,
    context: &FmtContext<'_, S, JsonFields>,
    event: &Event<'_>,
) -> Result<(), serde_json::Error>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let mut writer = serde_json::Serializer::new(line);
    let mut object = writer.serialize_map(None)?;
    object.serialize_entry("timestamp", time)?;
    object.serialize_entry("level", event.metadata().level().as_str())?;
    object.serialize_entry("target", event.metadata().target())?;
    let mut fields = Fields { object, failed: None };
    event.record(&mut fields);
    let Fields { mut object, failed } = fields;
    failed.map_or(Ok(()), Err)?;
    for span in context.event_scope().into_iter().flatten() {
        if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
            for (name, value) in serde_json::from_str::<Map<String, Value>>(&fields.fields)? {
                object.serialize_entry(&name, &value)?;
            }
        }
    }
    object.end()
}

/// Writes an event's fields into the object.
struct Fields<O: SerializeMap> {
    object: O,
    failed: Option<O::Error>,
}

impl<O: SerializeMap> Fields<O> {
    fn put(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        if self.failed.is_none() {
            self.failed = self.object.serialize_entry(field.name(), value).err();
        }
    }
}

impl<O: SerializeMap> Visit for Fields<O> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, &value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, &value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, &value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, &value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format_args!("{value:?}"));
    }
}
