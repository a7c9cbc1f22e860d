//! Announcements that a receiver did not take: tried again, in order, with growing waits, and not for ever. What is given up here
//! is announced again by the policy.

use std::collections::VecDeque;
use std::time::Duration;

use iaso_policy::alert::AlertKey;

use super::message::Notice;
use crate::system::clock::stopwatch;

/// The wait before the second try; twice as long before each that follows.
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// Tries of one announcement: over two hours.
const TRIES: u32 = 8;

/// Announcements that may wait; the oldest go first.
const WAITING: usize = 64;

/// What waits for another try, in the order in which it came.
#[derive(Default)]
pub(super) struct Later(VecDeque<Waiting>);

struct Waiting {
    notice: Notice,
    tries: u32,
    waited: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl Later {
    /// Whether the same announcement waits already.
    pub(super) fn has(&self, notice: &Notice) -> bool {
        key(notice).is_some_and(|known| self.0.iter().any(|waiting| key(&waiting.notice) == Some(known)))
    }

    /// Keeps an announcement that was tried so often; all else was worth one try.
    pub(super) fn put(&mut self, notice: Notice, tries: u32) {
        if key(&notice).is_none() || tries >= TRIES {
            return;
        }
        if self.0.len() >= WAITING {
            self.0.pop_front();
        }
        self.0.push_back(Waiting { notice, tries, waited: Box::new(stopwatch()) });
    }

    /// The next whose time has come, and how often it was tried. Waits for ever while there is none.
    pub(super) async fn next(&mut self) -> (Notice, u32) {
        let due = self.0.iter().map(Waiting::rest).zip(0..).min();
        let Some((rest, place)) = due else { return std::future::pending().await };
        tokio::time::sleep(rest).await;
        match self.0.remove(place) {
            Some(Waiting { notice, tries, .. }) => (notice, tries),
            None => std::future::pending().await,
        }
    }
}

impl Waiting {
    fn rest(&self) -> Duration {
        let doublings = self.tries.saturating_sub(1).min(TRIES);
        (FIRST_WAIT * (1 << doublings)).saturating_sub((self.waited)())
    }
}

fn key(notice: &Notice) -> Option<AlertKey> {
    match notice {
        Notice::Announcement(told) => Some(told.alert.key),
        Notice::Attempt(_) | Notice::Credential(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::announcement;
    use iaso_policy::record::AlertKind;

    #[tokio::test(start_paused = true)]
    async fn what_was_not_taken_comes_again_with_growing_waits_and_not_for_ever() {
        let notice = || Notice::Announcement(announcement(AlertKind::NotHealed).into());
        let mut later = Later::default();
        for tries in 1..TRIES {
            assert!(!later.has(&notice()));
            later.put(notice(), tries);
            assert!(later.has(&notice()));
            assert_eq!(later.next().await.1, tries);
        }
        later.put(notice(), TRIES);
        assert!(!later.has(&notice()), "the policy will say it again");
    }
}
