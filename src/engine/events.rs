//! The event stream, filtered at the engine: it keeps only its last 256 events, and HEALTHCHECK's exec events would push the
//! others out.

use bollard::errors::Error;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Incoming;
use url::form_urlencoded;

use super::docker::{engine_error, no_engine};
use super::transport::Transport;
use super::{EngineError, EngineEvent, EventStream, answers};

/// `health_status` stands for `health_status: unhealthy` and its like: the engine compares beginnings.
const FILTERS: &str = r#"{"type":["container"],"event":["create","start","kill","die","stop","restart","pause","unpause","oom","health_status","rename","destroy"]}"#;
/// The longest event that is read, in bytes; labels make most of one.
const LONGEST: usize = 1 << 20;

/// Subscribes: once this is done, the engine has answered and every event from then on comes.
pub(super) async fn subscribe(transport: &Transport) -> Result<EventStream, EngineError> {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("filters", FILTERS).finish();
    let request = Request::get(format!("/events?{query}")).body(Empty::<Bytes>::new());
    let request = request.map_err(|err| engine_error(Error::HttpClientError { err }))?;
    let answer = transport.send(request).await.map_err(engine_error)?;
    let lines = Lines { body: answer.into_body(), read: BytesMut::new() };
    Ok(stream::try_unfold(lines, |mut lines| async move { Ok(lines.next_event().await?.map(|event| (event, lines))) })
        .boxed())
}

/// An answer that goes on, one JSON object a line.
struct Lines {
    body: Incoming,
    read: BytesMut,
}

impl Lines {
    /// The next event that is ours; none at the stream's end.
    async fn next_event(&mut self) -> Result<Option<EngineEvent>, EngineError> {
        loop {
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let event = answers::event(&self.read[..end]);
                self.read.advance(end + 1);
                if let Some(event) = event.map_err(|err| engine_error(Error::JsonSerdeError { err }))? {
                    return Ok(Some(event));
                }
            }
            if self.read.len() > LONGEST {
                return Err(no_engine(&format!("an event is longer than {LONGEST} bytes")));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(err)) => return Err(engine_error(Error::HyperResponseError { err })),
                Some(Ok(frame)) => self.read.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..])),
            }
        }
    }
}
