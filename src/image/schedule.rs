//! Several layers at once: who may begin, who waits for the layers below, and what the first failure ends.

use crate::canceller::Canceller;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::report::Advice;
use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Layers that wait for those below hold no job; so many for each job may do so.
const WAITING: usize = 4;

/// The state of all layers, the bottom one first.
pub(super) struct Schedule {
    state: Mutex<State>,
    changed: Condvar,
    jobs: usize,
    canceller: Canceller,
}

struct State {
    complete: Vec<bool>,
    /// The next that nobody has taken.
    next: usize,
    /// The layer that has been taken last, until it has its helper.
    beginning: Option<usize>,
    /// Layers that are at work, those that wait left out.
    working: usize,
    /// Layers that were worked on and are no longer.
    ended: usize,
    /// Layers whose thread has ended, to be a process less.
    back: BTreeSet<usize>,
    failure: Option<Error>,
}

/// A layer that has been taken, and its right to a process: one layer has it after the other. So whoever waits for those
/// below has no process that one of them still lacks.
pub(super) struct Turn<'a> {
    schedule: &'a Schedule,
    index: usize,
}

impl Turn<'_> {
    /// It has what it takes: the next may have its turn.
    pub(super) fn pass(&self) {
        let mut state = self.schedule.lock();
        state.pass(self.index);
        self.schedule.changed.notify_all();
    }
}

impl State {
    fn pass(&mut self, index: usize) {
        if self.beginning == Some(index) {
            self.beginning = None;
        }
    }
}

impl Schedule {
    /// `complete` are those that need no work.
    pub(super) fn new(complete: Vec<bool>, jobs: usize, canceller: Canceller) -> Schedule {
        let (beginning, back, failure) = Default::default();
        let state = State { complete, next: 0, beginning, working: 0, ended: 0, back, failure };
        Schedule { state: Mutex::new(state), changed: Condvar::new(), jobs, canceller }
    }

    /// Works on all of them, in as many threads as can be had; the first error ends it. Who works passes his turn on as
    /// soon as he has his process, or takes none.
    pub(super) fn run(&self, work: impl Fn(usize, &Turn<'_>) -> Result<(), Error> + Sync) -> Result<(), Error> {
        let open = self.lock().complete.iter().filter(|complete| !**complete).count();
        let threads = open.min(self.jobs.saturating_mul(WAITING));
        let work = |index| work(index, &Turn { schedule: self, index });
        let some = || {
            while let Some(index) = self.take() {
                let Some(result) = self.patiently(index, || work(index)) else { return };
                self.put(index, result);
            }
        };
        std::thread::scope(|scope| {
            let worker = || std::thread::Builder::new().name("layer".to_owned());
            let _ = (0..threads).try_for_each(|_| worker().spawn_scoped(scope, some).map(drop));
        });
        // What no thread was to be had for, or none that left room for a helper: one after the other.
        while let Some(index) = self.take() {
            self.put(index, once_there_is_room(|| work(index)));
        }
        match self.lock().failure.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Tries again where no process could be had, whenever another layer has given its own back. `None`: the thread is to
    /// end, for there is none that would.
    fn patiently(&self, index: usize, work: impl Fn() -> Result<(), Error>) -> Option<Result<(), Error>> {
        loop {
            let ended = self.lock().ended;
            match work() {
                Err(error) if lacks_a_process(&error) => match self.starve(index, ended) {
                    Starved::Again => {}
                    Starved::Fails => return Some(Err(error)),
                    Starved::Leaves => return None,
                },
                result => return Some(result),
            }
        }
    }

    /// Keeps its turn, so that no process goes to a layer above.
    fn starve(&self, index: usize, ended: usize) -> Starved {
        let mut state = self.lock();
        state.working -= 1;
        self.changed.notify_all();
        let then = loop {
            match state.working {
                _ if state.failure.is_some() => break Starved::Fails,
                _ if state.ended != ended => break Starved::Again,
                0 => break Starved::Leaves,
                _ => state = self.wait(state),
            }
        };
        match then {
            Starved::Leaves => {
                state.pass(index);
                state.back.insert(index);
            }
            Starved::Again | Starved::Fails => state.working += 1,
        }
        self.changed.notify_all();
        then
    }

    /// Waits until every layer below this one is complete, or there is nothing more to wait for. The layer gives
    /// its job up meanwhile. Layers are taken from the bottom, so the lowest that is not complete waits for none,
    /// and there is always one that goes on.
    pub(super) fn wait_below(&self, index: usize) {
        let mut state = self.lock();
        state.working -= 1;
        self.changed.notify_all();
        while state.failure.is_none() && !state.complete[..index].iter().all(|complete| *complete) {
            state = self.wait(state);
        }
        while state.failure.is_none() && state.working >= self.jobs {
            state = self.wait(state);
        }
        state.working += 1;
    }

    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() {
                return None;
            }
            while state.complete.get(state.next).is_some_and(|complete| *complete) {
                state.next += 1;
            }
            if state.back.is_empty() && state.next >= state.complete.len() {
                return None;
            }
            if state.working < self.jobs && state.beginning.is_none() {
                let index = state.back.pop_first().unwrap_or(state.next);
                state.next = state.next.max(index + 1);
                state.working += 1;
                state.beginning = Some(index);
                return Some(index);
            }
            state = self.wait(state);
        }
    }

    fn put(&self, index: usize, result: Result<(), Error>) {
        let mut state = self.lock();
        state.working -= 1;
        state.ended += 1;
        state.pass(index);
        match result {
            Ok(()) => state.complete[index] = true,
            Err(error) => {
                // What others say after this is that they were cancelled.
                state.failure.get_or_insert(error);
                self.canceller.cancel();
            }
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a layer for which there was no process.
#[derive(Clone, Copy)]
enum Starved {
    Again,
    Fails,
    /// Its thread takes the place of a process.
    Leaves,
}

/// A thread that has ended counts for a moment longer.
fn once_there_is_room(work: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
    for _ in 0..100 {
        match work() {
            Err(error) if lacks_a_process(&error) => std::thread::sleep(Duration::from_millis(1)),
            result => return result,
        }
    }
    work()
}

/// The limit of processes is reached, before the layer was touched.
fn lacks_a_process(error: &Error) -> bool {
    error.kind() == ErrorKind::Helper && error.advice() == Some(Advice::Threads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Every layer waits for those below: done from the bottom, never more at work than there are jobs.
    #[test]
    fn all_wait_and_all_end() {
        for jobs in [1, 2, 7] {
            let schedule = Schedule::new(vec![false; 40], jobs, Canceller::default());
            let (working, order) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
            let work = |index: usize, turn: &Turn<'_>| {
                turn.pass();
                assert!(working.fetch_add(1, Ordering::SeqCst) < jobs);
                working.fetch_sub(1, Ordering::SeqCst);
                schedule.wait_below(index);
                assert!(working.fetch_add(1, Ordering::SeqCst) < jobs);
                order.lock().expect("order").push(index);
                working.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            };
            schedule.run(work).expect("all of them");
            assert_eq!(order.into_inner().expect("order"), (0..40).collect::<Vec<_>>(), "{jobs} jobs");
        }
    }

    #[test]
    fn the_first_failure_ends_all_that_wait() {
        let canceller = Canceller::default();
        let schedule = Schedule::new(vec![false; 10], 4, canceller.clone());
        let work = |index| match index {
            0 => {
                std::thread::sleep(std::time::Duration::from_millis(50));
                Err(Error::of(ErrorKind::Archive))
            }
            index => {
                schedule.wait_below(index);
                Err(Error::of(ErrorKind::Cancelled))
            }
        };
        let result = schedule.run(|index, turn| {
            turn.pass();
            work(index)
        });
        assert_eq!(result.expect_err("failed").kind(), ErrorKind::Archive);
        assert!(canceller.is_cancelled());
    }

    fn lacking() -> Error {
        Error::io(ErrorKind::Helper, "starting", std::io::Error::from(std::io::ErrorKind::WouldBlock))
    }

    /// With room for so many helpers beside any number of threads, and each waiting with its own for those below.
    #[test]
    fn layers_wait_for_each_others_processes() {
        for room in [1, 2, 5] {
            let schedule = Schedule::new(vec![false; 30], 4, Canceller::default());
            let (free, done) = (AtomicUsize::new(room), Mutex::new(Vec::new()));
            let work = |index: usize, turn: &Turn<'_>| {
                let one_less = |free: usize| free.checked_sub(1);
                if free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err() {
                    return Err(lacking());
                }
                turn.pass();
                schedule.wait_below(index);
                done.lock().expect("done").push(index);
                free.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            schedule.run(work).expect("all of them");
            let mut done = done.into_inner().expect("done");
            done.sort_unstable();
            assert_eq!(done, (0..30).collect::<Vec<_>>(), "room for {room}");
        }
    }

    /// Where the threads take all the room there is, they end, and one layer comes after the other.
    #[test]
    fn threads_make_room_for_a_helper() {
        let caller = std::thread::current().id();
        let schedule = Schedule::new(vec![false; 9], 3, Canceller::default());
        let order = Mutex::new(Vec::new());
        let work = |index: usize, _: &Turn<'_>| {
            if std::thread::current().id() != caller {
                return Err(lacking());
            }
            order.lock().expect("order").push(index);
            Ok(())
        };
        schedule.run(work).expect("all of them");
        assert_eq!(order.into_inner().expect("order"), (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_complete_is_not_done_again() {
        let schedule = Schedule::new(vec![true, false, true], 2, Canceller::default());
        schedule.run(|index, _| if index == 1 { Ok(()) } else { Err(Error::of(ErrorKind::Helper)) }).expect("one");
        Schedule::new(vec![], 2, Canceller::default()).run(|_, _| Ok(())).expect("none");
    }
}
