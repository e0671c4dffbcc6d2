//! What an honest helper may say next. Everything else is a breach, whatever it would have led to.

use super::Terms;
use crate::options::UserNamespace;
use crate::report::Listed;
use crate::wire::{PACE, Up};
use std::time::{Duration, Instant};

/// How far the conversation has come; the table is at the top of `wire.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The request is sent.
    Fresh,
    /// The ids of its user namespace were mapped, or could not be.
    Mapped,
    /// It is inside and reads the archive.
    Started,
    /// It has replied.
    Over,
}

/// Whether a user namespace is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    Never,
    IfNeeded,
    Always,
}

pub(super) struct Protocol {
    state: State,
    since: Instant,
    namespace: Namespace,
    /// May still ask for the lower directories.
    lowers: bool,
    progress: bool,
    told: u64,
    /// How many entries and events it may still tell.
    listed: u64,
    events: u64,
    /// It says when it waits for more of the archive, the next time not before it has used so much of it.
    hungry_from: Option<u64>,
    /// Attributes of one entry.
    xattrs: usize,
}

impl Protocol {
    pub(super) fn new(terms: &Terms, lowers: bool) -> Protocol {
        let namespace = match terms.jail.user_namespace {
            UserNamespace::Never => Namespace::Never,
            UserNamespace::Auto => Namespace::IfNeeded,
            UserNamespace::Single | UserNamespace::Mapped { .. } => Namespace::Always,
        };
        Protocol {
            state: State::Fresh,
            since: Instant::now(),
            namespace,
            lowers,
            progress: terms.progress,
            told: 0,
            listed: terms.listed,
            events: terms.events,
            hungry_from: terms.in_step.then_some(0),
            xattrs: terms.xattrs,
        }
    }

    /// About how long ago the helper was started.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether this frame may come now; it has come then.
    pub(super) fn admits(&mut self, message: &Up) -> bool {
        let elapsed = self.since.elapsed();
        match (message, self.state) {
            (Up::NeedIdMap, State::Fresh) => self.step(State::Mapped, self.namespace != Namespace::Never),
            (Up::Started(_), State::Fresh) => self.step(State::Started, self.namespace != Namespace::Always),
            (Up::Started(_), State::Mapped) => self.step(State::Started, true),
            (Up::Progress(_), State::Started) => self.may_tell_progress(elapsed),
            (Up::Listed(listed), State::Started) => self.may_list(listed),
            (Up::Event(_), State::Started) => spend(&mut self.events),
            (Up::NeedLowers, State::Started) => std::mem::take(&mut self.lowers),
            (Up::Hungry(at), State::Started) => self.may_be_hungry(*at),
            // Before it is inside it can only fail.
            (Up::Reply(reply), State::Fresh | State::Mapped) => self.step(State::Over, reply.failure.is_some()),
            (Up::Reply(reply), State::Started) => self.step(State::Over, reply.report.events.is_empty()),
            _ => false,
        }
    }

    fn step(&mut self, next: State, may: bool) -> bool {
        self.state = next;
        may
    }

    /// Not more often than an honest one looks at its clock, which is ours, and begins later.
    fn may_tell_progress(&mut self, elapsed: Duration) -> bool {
        self.told += 1;
        self.progress && u128::from(self.told) <= elapsed.as_millis() / PACE.as_millis() + 1
    }

    /// Not again before it has got something.
    fn may_be_hungry(&mut self, at: u64) -> bool {
        let may = self.hungry_from.is_some_and(|from| at >= from);
        self.hungry_from = self.hungry_from.map(|_| at.saturating_add(1));
        may
    }

    fn may_list(&mut self, listed: &Listed) -> bool {
        listed.xattrs.len() <= self.xattrs && spend(&mut self.listed)
    }
}

fn spend(left: &mut u64) -> bool {
    let may = *left > 0;
    *left = left.saturating_sub(1);
    may
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::report::{Cause, Event, EventKind, Failure, Progress, Report, Stage};
    use crate::wire::Reply;

    fn all() -> Options {
        let mut options = Options { progress: true, list: true, stop_at_end: true, ..Options::default() };
        (options.limits.entries, options.limits.events) = (2, 2);
        options
    }

    fn listed(xattrs: usize) -> Up {
        let kind = crate::report::EntryKind::File;
        Up::Listed(Box::new(Listed {
            index: 0,
            offset: 0,
            path: b"f".into(),
            link: Vec::new(),
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            mtime_ns: 0,
            device: None,
            xattrs: vec![Vec::new(); xattrs],
        }))
    }

    fn event() -> Event {
        Event { entry: None, what: EventKind::NoEndMarker }
    }

    fn reply(failed: bool, events: usize) -> Up {
        let cause = Cause::PathEscapes;
        let failure = Failure { stage: Stage::Apply, entry: None, after: None, operation: None, cause };
        let report = Report { events: vec![event(); events], ..Report::default() };
        Up::Reply(Box::new(Reply { report, failure: failed.then_some(failure) }))
    }

    /// Each frame by a letter, lower case for what is like it but not so.
    fn frame(letter: char) -> Up {
        match letter {
            'M' => Up::NeedIdMap,
            'S' => Up::Started(Box::default()),
            'P' => Up::Progress(Progress::default()),
            'L' => listed(0),
            'l' => listed(300),
            'E' => Up::Event(Box::new(event())),
            'W' => Up::NeedLowers,
            'H' => Up::Hungry(0),
            'h' => Up::Hungry(9),
            'F' => reply(true, 0),
            'R' => reply(false, 0),
            'r' => reply(false, 1),
            other => panic!("{other}"),
        }
    }

    /// How many of these frames pass.
    fn passed(options: &Options, lowers: bool, frames: &str) -> usize {
        let mut protocol = Protocol::new(&Terms::applying(options, options.stop_at_end), lowers);
        frames.chars().take_while(|letter| protocol.admits(&frame(*letter))).count()
    }

    #[test]
    fn each_frame_in_each_state() {
        for (before, may) in [("", "MSF"), ("M", "SF"), ("S", "PLEWHhFR"), ("MS", "PLEWHhFR"), ("SR", ""), ("F", "")] {
            for letter in "MSPLlEWHhFRr".chars() {
                let want = before.len() + usize::from(may.contains(letter));
                assert_eq!(passed(&all(), true, &format!("{before}{letter}")), want, "{letter} after {before:?}");
            }
        }
    }

    #[test]
    fn what_was_not_asked_for_may_not_be_said() {
        let with = |change: fn(&mut Options)| {
            let mut options = all();
            change(&mut options);
            options
        };
        for (options, lowers, frames, want) in [
            (with(|o| o.progress = false), true, "SP", 1),
            (with(|o| o.list = false), true, "SL", 1),
            (with(|o| (o.list, o.verbose) = (false, true)), true, "SL", 2),
            (all(), false, "SW", 1),
            (with(|o| o.stop_at_end = false), true, "SH", 1),
            (with(|o| o.jail.user_namespace = UserNamespace::Never), true, "M", 0),
            (with(|o| o.jail.user_namespace = UserNamespace::Single), true, "S", 0),
            (with(|o| o.jail.user_namespace = UserNamespace::Single), true, "MS", 2),
        ] {
            assert_eq!(passed(&options, lowers, frames), want, "{frames}, {options:?}");
        }
    }

    #[test]
    fn each_frame_comes_as_often_as_it_may() {
        for (frames, want) in [
            ("SLLL", 3),
            ("SEEE", 3),
            ("SWW", 2),
            ("SHH", 2),
            ("SHhh", 3),
            ("ShH", 2),
            ("SEELLWR", 7),
            ("SPPPPPPPPPPPPPPPPPPPP", 21),
        ] {
            let passed = passed(&all(), true, frames);
            assert!(if frames.contains('P') { passed < want } else { passed == want }, "{frames}: {passed}");
        }
    }
}
