//! Whose turn it is, and whether those who have theirs get on: storage that hangs keeps its turn, and may keep it for ever.

use crate::status::Trouble;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use untar_in_root::Progress;

/// How long a call waits until that is told, and told again.
const LONG: Duration = Duration::from_secs(60);

/// Lets so many calls work at once, the rest in the order of their arrival.
pub(crate) struct Turns {
    free: Arc<Semaphore>,
    /// The pulse of all that have their turn.
    pulse: Pulse,
}

/// One call's turn, which ends where it is dropped.
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
    pulse: Pulse,
    of_all: Pulse,
}

/// When something has last moved, and where that was; clones are of the same thing.
#[derive(Clone)]
pub(crate) struct Pulse(Arc<Mutex<(Instant, At)>>);

/// Where a call stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    /// Entries that are finished.
    pub(crate) entries: u64,
    /// Bytes of the uncompressed layer.
    pub(crate) bytes: u64,
    /// What containerd is to do, and has not yet.
    pub(crate) containerd: Option<&'static str>,
}

impl Turns {
    pub(crate) fn new(number: usize) -> Turns {
        Turns { free: Arc::new(Semaphore::new(number)), pulse: Pulse::new() }
    }

    /// Waits for a turn, with a word now and then.
    ///
    /// # Errors
    ///
    /// None of those who have the turns has moved for `stall`.
    pub(crate) async fn next(&self, stall: Duration, waits: impl Fn()) -> Result<Turn, Trouble> {
        let in_vain = async {
            // What was before this call came says nothing of the turns since.
            Pulse::new().stops(stall).await;
            self.pulse.stops(stall).await;
        };
        tokio::select! {
            permit = self.permit(waits) => permit.map(|permit| self.begun(permit)),
            () = in_vain => Err(Trouble::NoTurn(stall)),
        }
    }

    async fn permit(&self, waits: impl Fn()) -> Result<OwnedSemaphorePermit, Trouble> {
        let permit = Arc::clone(&self.free).acquire_owned();
        tokio::pin!(permit);
        loop {
            match timeout(LONG, &mut permit).await {
                Ok(permit) => return permit.map_err(|_| Trouble::Bug),
                Err(_) => waits(),
            }
        }
    }

    fn begun(&self, permit: OwnedSemaphorePermit) -> Turn {
        self.pulse.beat();
        Turn { _permit: permit, pulse: Pulse::new(), of_all: self.pulse.clone() }
    }
}

impl Turn {
    pub(crate) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// What is to be called whenever something moves.
    pub(crate) fn beats(&self) -> impl Fn(Progress) + Send + use<> {
        let (own, of_all) = (self.pulse.clone(), self.of_all.clone());
        move |progress| {
            own.moves(|at| (at.entries, at.bytes) = (progress.entries, progress.bytes_tar));
            of_all.beat();
        }
    }

    /// What is to be called when something has moved, with what containerd is to do next, if anything.
    pub(crate) fn asks(&self) -> impl Fn(Option<&'static str>) + Send + use<> {
        let (own, of_all) = (self.pulse.clone(), self.of_all.clone());
        move |what| {
            own.moves(|at| at.containerd = what);
            of_all.beat();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of_all.beat();
    }
}

impl Pulse {
    fn new() -> Pulse {
        Pulse(Arc::new(Mutex::new((Instant::now(), At::default()))))
    }

    fn beat(&self) {
        self.moves(|_| ());
    }

    fn moves(&self, to: impl FnOnce(&mut At)) {
        let (last, at) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Instant::now();
        to(at);
    }

    /// Where it stands, when it has not beaten for so long.
    pub(crate) async fn stops(&self, stall: Duration) -> At {
        loop {
            let (last, at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match left(last, Instant::now(), stall) {
                Some(Duration::ZERO) => return at,
                Some(time) => sleep(time).await,
                None => std::future::pending().await,
            }
        }
    }
}

/// The time that is left of such a bound, if it is one that a clock reaches.
fn left(last: Instant, now: Instant, stall: Duration) -> Option<Duration> {
    Some(last.checked_add(stall)?.saturating_duration_since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const NEVER: Duration = Duration::MAX;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
        runtime.block_on(future)
    }

    #[test]
    fn who_waits_for_turns_in_which_nothing_moves_is_sent_away() {
        run(async {
            let turns = Turns::new(1);
            let held = turns.next(NEVER, || ()).await.expect("free");
            assert!(matches!(turns.next(SHORT, || ()).await, Err(Trouble::NoTurn(SHORT))));
            drop(held);
            turns.next(SHORT, || ()).await.expect("free again");
        });
    }

    #[test]
    fn time_is_counted_from_what_has_moved_last() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(left(begin, begin + 3 * second, 10 * second), Some(7 * second));
        assert_eq!(left(begin + 8 * second, begin + 11 * second, 10 * second), Some(7 * second));
        assert_eq!(left(begin, begin + 11 * second, 10 * second), Some(Duration::ZERO));
        assert_eq!(left(begin, begin + 11 * second, NEVER), None);
    }

    #[test]
    fn a_turn_in_which_nothing_moves_is_known_and_one_without_a_bound_goes_on() {
        run(async {
            let turn = Turns::new(1).next(NEVER, || ()).await.expect("free");
            turn.asks()(Some("something"));
            let at = turn.pulse().stops(SHORT).await;
            assert_eq!(at, At { containerd: Some("something"), ..At::default() });
            timeout(SHORT, turn.pulse().stops(NEVER)).await.expect_err("it is not waited for");
        });
    }
}
