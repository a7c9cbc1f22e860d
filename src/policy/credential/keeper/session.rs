//! The session with Vault: logging in, the token's life, and whether Vault answers.

use alloc::vec::Vec;
use core::time::Duration;

use super::pace::{FLOOR, Hour, LONG, LONGEST_RETRY_AFTER, Retry, SHORT};
use super::seam::{Event, SessionSpec, SessionView, Task, Token};
use super::token::Held;
use crate::backoff::Jitter;
use crate::credential::Fault;
use crate::time::Mono;

/// An answer that has not come by then does not come any more.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// No login for so long after an alarm, unless what Iaso logs in with changes.
const ALARM: Duration = Duration::from_secs(1800);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    Login,
    LookUp,
    Renew,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) spec: SessionSpec,
    pub(super) token: Option<Held>,
    /// When the token before the present one ends; leases that were asked for with it end with it.
    pub(super) before: Option<Mono>,
    busy: Option<(Errand, Mono)>,
    logins: Hour,
    login: Retry,
    /// When the last login was sent.
    tried: Mono,
    /// Why the last login failed, if it did.
    refused: Option<Fault>,
    alarm: Option<Mono>,
    held_told: bool,
    probe: Retry,
    down: Option<Down>,
    /// A renewal that was denied: is it the token, or its policy?
    doubt: Option<Mono>,
    fault: Option<Fault>,
    since: Mono,
}

#[derive(Debug)]
struct Down {
    since: Mono,
    /// It is certain, and people know.
    told: bool,
}

impl Session {
    pub(super) const fn new(spec: SessionSpec, now: Mono) -> Self {
        Self {
            spec,
            token: None,
            before: None,
            busy: None,
            logins: Hour::new(),
            login: Retry::new(),
            tried: now,
            refused: None,
            alarm: None,
            held_told: false,
            probe: Retry::new(),
            down: None,
            doubt: None,
            fault: None,
            since: now,
        }
    }

    /// Whether requests may be sent for credentials.
    pub(super) const fn is_open(&self) -> bool {
        self.token.is_some() && self.down.is_none() && self.doubt.is_none()
    }

    /// Whether a login was tried in vain.
    pub(super) const fn is_waiting(&self) -> bool {
        self.fault.is_some() || self.refused.is_some() || self.held_told
    }

    /// When a login may be sent.
    fn login_from(&self, now: Mono) -> Mono {
        let free = self.logins.free_at(now, self.spec.logins_per_hour);
        free.max(self.login.until).max(self.alarm.unwrap_or(now))
    }

    /// What is to be done next, and when. `doubted`: a request was denied, and the token has not been shown to be good since.
    fn next(&self, now: Mono, doubted: bool) -> Option<(Errand, Mono)> {
        let Some(token) = &self.token else { return Some((Errand::Login, self.login_from(now))) };
        if token.spent() {
            return Some((Errand::Login, self.login_from(now)));
        }
        if self.down.is_some() {
            return Some((Errand::LookUp, self.probe.until));
        }
        if doubted || self.doubt.is_some() {
            return Some((Errand::LookUp, now));
        }
        let login = token.login_at.map(|at| (Errand::Login, at.max(self.login_from(now))));
        let renewal = token.renew_at.map(|at| (Errand::Renew, at.max(token.renewal.until)));
        match (login, renewal) {
            (Some(login), Some(renewal)) => Some(if login.1 <= renewal.1 { login } else { renewal }),
            (login, renewal) => login.or(renewal),
        }
    }

    /// Sends what is due.
    pub(super) fn act(&mut self, now: Mono, doubted: bool, out: &mut Vec<Task>) {
        if self.busy.is_some() {
            return;
        }
        let Some((errand, at)) = self.next(now, doubted) else { return };
        if at > now {
            self.tell_hold(now, errand, out);
            return;
        }
        self.busy = Some((errand, now));
        if let (Errand::LookUp | Errand::Renew, Some(token)) = (errand, &mut self.token) {
            token.spend();
        }
        out.push(match (errand, &self.token) {
            (Errand::Renew, Some(token)) => Task::RenewToken { increment: token.increment(now) },
            (Errand::LookUp, _) => Task::LookUpToken,
            _ => {
                self.logins.charge(now);
                self.tried = now;
                self.held_told = false;
                Task::Login
            }
        });
    }

    fn tell_hold(&mut self, now: Mono, errand: Errand, out: &mut Vec<Task>) {
        let until = self.logins.free_at(now, self.spec.logins_per_hour);
        let wanted = self.token.as_ref().is_none_or(|t| t.spent() || t.login_at.is_some_and(|at| at <= now));
        if errand == Errand::Login && wanted && until > now && !self.held_told {
            self.held_told = true;
            note(out, Event::LoginsHeld { until });
        }
    }

    /// When [`Session::act`] has something to do next.
    pub(super) fn deadline(&self, now: Mono, doubted: bool) -> Option<Mono> {
        match self.busy {
            Some((_, since)) => Some(since + PATIENCE),
            None => self.next(now, doubted).map(|(_, at)| at),
        }
    }

    /// What time alone does: the token ends, an answer is given up. True: the token ended.
    pub(super) fn pass(&mut self, now: Mono, jitter: &mut Jitter, out: &mut Vec<Task>) -> bool {
        if let Some((errand, since)) = self.busy
            && since + PATIENCE <= now
        {
            match errand {
                Errand::Login => self.login_failed(now, Fault::Ambiguous, jitter, out),
                Errand::Renew => self.renew_failed(now, Fault::Ambiguous, jitter, out),
                Errand::LookUp => {
                    self.looked_up(now, Err(Fault::Ambiguous), jitter, out);
                }
            }
        }
        self.alarm = self.alarm.filter(|&until| until > now);
        let ended = self.token.as_ref().is_some_and(|token| token.ends.is_some_and(|ends| ends <= now));
        if ended {
            self.lose(out);
        }
        ended
    }

    fn lose(&mut self, out: &mut Vec<Task>) {
        self.before = self.end();
        self.token = None;
        self.doubt = None;
        note(out, Event::TokenLost);
    }

    /// An answer came: when what it answers was sent; none: it was given up.
    fn answered(&mut self, errand: Errand) -> Option<Mono> {
        self.busy.take_if(|(sent, _)| *sent == errand).map(|(_, since)| since)
    }

    pub(super) fn end(&self) -> Option<Mono> {
        self.token.as_ref().and_then(|token| token.ends)
    }

    pub(super) fn logged_in(
        &mut self,
        now: Mono,
        began: Mono,
        told: Token,
        same: bool,
        jitter: &mut Jitter,
        out: &mut Vec<Task>,
    ) {
        self.answered(Errand::Login);
        self.alarm = None;
        self.doubt = None;
        self.refused = None;
        let earlier = self.token.as_ref().filter(|_| same).map(|token| token.since);
        let token = Held::new(now, began, told, earlier, jitter);
        if token.few {
            note(out, Event::TokenUsesTooFew);
        }
        if !same && self.token.is_some() {
            self.before = self.end();
        }
        self.token = Some(token);
        // Until the token has been good for something, this counts as one more failure: no loop of logins.
        self.login.fail(now, LONG, jitter);
        note(out, Event::LoggedIn);
        self.answers(now, out);
    }

    pub(super) fn login_failed(&mut self, now: Mono, fault: Fault, jitter: &mut Jitter, out: &mut Vec<Task>) {
        if self.answered(Errand::Login).is_none() {
            return;
        }
        if nothing_done(fault) {
            self.logins.refund();
        }
        self.login.fail(now, if nothing_done(fault) { SHORT } else { LONG }, jitter);
        self.login.until = self.login.until.max(retry_after(now, fault));
        if fault == Fault::Tampered {
            self.alarm = Some(now + ALARM);
            note(out, Event::Tampered);
        }
        if self.refused.replace(fault) != Some(fault) {
            note(out, Event::LoginFailed { fault });
        }
        if fault.is_outage() {
            self.suspect(now, fault, true, jitter, out);
        } else if fault != Fault::Unrecorded {
            self.answers(now, out);
        }
    }

    pub(super) fn renewed(&mut self, now: Mono, began: Mono, told: Token, jitter: &mut Jitter, out: &mut Vec<Task>) {
        self.answered(Errand::Renew);
        self.proved(now, began, out);
        let Some(token) = self.token.as_mut().filter(|token| began >= token.since) else { return };
        if token.renewed(began, told, jitter) {
            note(out, Event::TokenNotRenewed { fault: None });
        }
    }

    pub(super) fn renew_failed(&mut self, now: Mono, fault: Fault, jitter: &mut Jitter, out: &mut Vec<Task>) {
        let Some(began) = self.answered(Errand::Renew) else { return };
        let Some(token) = &mut self.token else { return };
        token.renewal.fail(now, LONG, jitter);
        match fault {
            Fault::Refused => self.stop_renewing(now, fault, out),
            Fault::Denied => self.doubt = Some(began),
            _ if fault.is_outage() => self.suspect(now, fault, false, jitter, out),
            _ => {}
        }
    }

    fn stop_renewing(&mut self, now: Mono, fault: Fault, out: &mut Vec<Task>) {
        if let Some(token) = &mut self.token {
            token.renew_at = None;
            token.login_at = Some(now);
        }
        note(out, Event::TokenNotRenewed { fault: Some(fault) });
    }

    /// True: the token is no good.
    pub(super) fn looked_up(
        &mut self,
        now: Mono,
        result: Result<Token, Fault>,
        jitter: &mut Jitter,
        out: &mut Vec<Task>,
    ) -> bool {
        let Some(began) = self.answered(Errand::LookUp) else { return false };
        match result {
            Ok(told) => {
                if let Some(token) = &mut self.token {
                    token.count(told);
                }
                self.proved(now, began, out);
                if self.doubt.take().is_some() {
                    self.stop_renewing(now, Fault::Denied, out);
                }
                false
            }
            Err(fault) if fault.is_outage() => {
                self.suspect(now, fault, true, jitter, out);
                false
            }
            // Whatever else it says: a token that may not even look at itself is not worth keeping.
            Err(_) => {
                self.answers(now, out);
                let had = self.token.is_some();
                if had {
                    self.lose(out);
                }
                had
            }
        }
    }

    /// A request that was sent then with the token went well.
    pub(super) fn proved(&mut self, now: Mono, began: Mono, out: &mut Vec<Task>) {
        if let Some(token) = &mut self.token
            && began >= token.since
        {
            token.proved = token.proved.max(Some(began));
            if token.got >= self.tried {
                self.login.clear();
            }
            self.answers(now, out);
        }
    }

    /// Whether the token was shown to be good by a request that was sent no earlier than this one that was denied; none: it
    /// was another token.
    pub(super) fn is_good_since(&self, denied: Mono) -> Option<bool> {
        let token = self.token.as_ref().filter(|token| token.since <= denied)?;
        Some(token.proved.is_some_and(|proved| proved >= denied))
    }

    /// Vault, or the way to it, seems unwell: one question at a time from now on. `sure`: it is not only one path of it.
    pub(super) fn suspect(&mut self, now: Mono, fault: Fault, sure: bool, jitter: &mut Jitter, out: &mut Vec<Task>) {
        let sure = sure || matches!(fault, Fault::Unreachable | Fault::Sealed | Fault::Standby);
        let down = self.down.get_or_insert(Down { since: now, told: false });
        if sure && !down.told {
            down.told = true;
            self.since = now;
            note(out, Event::VaultDown { fault });
        }
        if sure {
            self.fault = Some(fault);
        }
        // A look at the token makes nothing: whatever the fault, it may be asked often.
        if self.probe.until <= now {
            self.probe.fail(now, SHORT, jitter);
        }
        self.probe.until = self.probe.until.max(retry_after(now, fault));
    }

    /// Vault answers.
    fn answers(&mut self, now: Mono, out: &mut Vec<Task>) {
        self.probe.clear();
        if let Some(down) = self.down.take()
            && down.told
        {
            note(out, Event::VaultUp { after: now.since(down.since) });
        }
        if self.fault.take().is_some() {
            self.since = now;
        }
    }

    /// A person, or a changed file, gives a reason to try again at once; a second after the last try at the earliest.
    pub(super) fn hasten(&mut self, now: Mono, changed: bool) {
        self.probe.until = self.probe.until.min(now + FLOOR);
        if changed {
            self.login.until = self.login.until.min(now + FLOOR);
            self.alarm = None;
            if let Some(token) = &mut self.token {
                token.login_at = Some(now);
            }
        }
    }

    pub(super) fn charged(&mut self, at: Mono) {
        self.logins.charge(at);
    }

    /// The logins of the last hour.
    pub(super) fn charges(&self, now: Mono) -> impl Iterator<Item = Mono> + '_ {
        self.logins.still(now)
    }

    pub(super) fn view(&self, now: Mono, wanted: bool) -> SessionView {
        let held = self.logins.free_at(now, self.spec.logins_per_hour);
        let held = self.alarm.or(Some(held).filter(|_| self.held_told)).filter(|&until| until > now);
        SessionView {
            up: !wanted || (self.token.is_some() && self.fault.is_none()),
            fault: self.fault.or(self.refused),
            since: self.since,
            token_ends: self.end(),
            held_until: held,
        }
    }
}

/// The request certainly made nothing.
pub(super) const fn nothing_done(fault: Fault) -> bool {
    matches!(fault, Fault::Unreachable | Fault::Sealed | Fault::Standby | Fault::RateLimited { .. } | Fault::Unrecorded)
}

fn retry_after(now: Mono, fault: Fault) -> Mono {
    match fault {
        Fault::RateLimited { after: Some(after) } => now + after.min(LONGEST_RETRY_AFTER),
        _ => now,
    }
}

fn note(out: &mut Vec<Task>, event: Event) {
    out.push(Task::Note { credential: None, event });
}
