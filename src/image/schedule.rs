//! Several layers at once: who may begin, who waits for the layers below, and what the first failure ends.

use crate::canceller::Canceller;
use crate::error::Error;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

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
    /// Layers that are at work, those that wait left out.
    working: usize,
    failure: Option<Error>,
}

impl Schedule {
    /// `complete` are those that need no work.
    pub(super) fn new(complete: Vec<bool>, jobs: usize, canceller: Canceller) -> Schedule {
        let state = State { complete, next: 0, working: 0, failure: None };
        Schedule { state: Mutex::new(state), changed: Condvar::new(), jobs, canceller }
    }

    /// Works on all of them; the first error ends it.
    pub(super) fn run(&self, work: impl Fn(usize) -> Result<(), Error> + Sync) -> Result<(), Error> {
        let open = self.lock().complete.iter().filter(|complete| !**complete).count();
        let threads = open.min(self.jobs.saturating_mul(WAITING));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let worker = std::thread::Builder::new().name("layer".to_owned());
                let spawned = worker.spawn_scoped(scope, || {
                    while let Some(index) = self.take() {
                        self.put(index, work(index));
                    }
                });
                if let Err(error) = spawned {
                    self.fail(Error::io(crate::kind::ErrorKind::Helper, "starting a thread", error));
                }
            }
        });
        match self.lock().failure.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
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
            if state.next >= state.complete.len() {
                return None;
            }
            if state.working < self.jobs {
                state.working += 1;
                state.next += 1;
                return Some(state.next - 1);
            }
            state = self.wait(state);
        }
    }

    fn put(&self, index: usize, result: Result<(), Error>) {
        let mut state = self.lock();
        state.working -= 1;
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

    fn fail(&self, error: Error) {
        self.lock().failure.get_or_insert(error);
        self.canceller.cancel();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::ErrorKind;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Every layer waits for those below: done from the bottom, never more at work than there are jobs.
    #[test]
    fn all_wait_and_all_end() {
        for jobs in [1, 2, 7] {
            let schedule = Schedule::new(vec![false; 40], jobs, Canceller::default());
            let (working, order) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
            let work = |index: usize| {
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
        let result = schedule.run(|index| match index {
            0 => {
                std::thread::sleep(std::time::Duration::from_millis(50));
                Err(Error::of(ErrorKind::Archive))
            }
            index => {
                schedule.wait_below(index);
                Err(Error::of(ErrorKind::Cancelled))
            }
        });
        assert_eq!(result.expect_err("failed").kind(), ErrorKind::Archive);
        assert!(canceller.is_cancelled());
    }

    #[test]
    fn what_is_complete_is_not_done_again() {
        let schedule = Schedule::new(vec![true, false, true], 2, Canceller::default());
        schedule.run(|index| if index == 1 { Ok(()) } else { Err(Error::of(ErrorKind::Helper)) }).expect("one");
        Schedule::new(vec![], 2, Canceller::default()).run(|_| Ok(())).expect("none");
    }
}
