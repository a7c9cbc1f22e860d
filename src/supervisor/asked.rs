//! Which HTTP request an attempt goes back to, so that every log line about it carries the request's id.

use std::collections::HashMap;

use iaso_policy::id::AttemptId;
use iaso_policy::record::Event;
use tracing::Span;

/// The requests behind what is under way.
#[derive(Default)]
pub(super) struct Asked {
    /// The request whose order is being stepped.
    now: Option<String>,
    /// The requests behind attempts that have not ended.
    attempts: HashMap<AttemptId, String>,
}

impl Asked {
    /// An order is taken: everything until [`Self::stepped`] goes back to its request, and happens in this span.
    pub(super) fn taken(&mut self, request: String) -> Span {
        let span = span(&request);
        self.now = Some(request);
        span
    }

    /// What follows at once from the order has happened.
    pub(super) fn stepped(&mut self) {
        self.now = None;
    }

    /// The span for the lines about an attempt.
    pub(super) fn span_of(&self, attempt: AttemptId) -> Span {
        // Within an order's own span another would name a second request.
        let request = self.attempts.get(&attempt).filter(|_| self.now.is_none());
        request.map_or_else(Span::none, |request| span(request))
    }

    /// The same for a record, from which it also learns which attempts begin and end.
    pub(super) fn hear(&mut self, event: &Event) -> Span {
        match *event {
            Event::Begun { attempt, .. } => {
                self.attempts.extend(self.now.clone().map(|request| (attempt, request)));
                Span::none()
            }
            Event::Finished { attempt, .. } => self.span_of(attempt),
            Event::Ended { attempt, .. } => {
                let span = self.span_of(attempt);
                self.attempts.remove(&attempt);
                span
            }
            _ => Span::none(),
        }
    }
}

/// As an error, for a span that the log's level leaves out lends its id to no line.
fn span(request: &str) -> Span {
    tracing::error_span!("request", request_id = %request)
}
