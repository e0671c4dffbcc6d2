//! The progress bar: bytes of the archive, entries, rate.

use crate::patient;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};
use untar_in_root::Progress;

/// A run that is over before that needs no bar.
pub(crate) const PATIENCE: Duration = Duration::from_millis(400);
/// Between two lines where there is no terminal.
const LINE_PACE: Duration = Duration::from_secs(1);
/// Cells of the bar itself.
const CELLS: u64 = 24;

/// Shows how far the run has come, on standard error.
pub(crate) struct Bar {
    total: Option<u64>,
    started: Instant,
    terminal: bool,
    shown: bool,
    next: Instant,
    last: Option<Progress>,
}

impl Bar {
    /// `total` is the size of the archive, where it is known. On a terminal the bar stays in one line;
    /// elsewhere there is a line a second.
    pub(crate) fn new(total: Option<u64>) -> Bar {
        let started = Instant::now();
        let terminal = io::stderr().is_terminal();
        Bar { total, started, terminal, shown: false, next: started + PATIENCE, last: None }
    }

    pub(crate) fn update(&mut self, progress: Progress) {
        self.last = Some(progress);
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let text = text(progress, self.total, now - self.started);
        if self.terminal {
            let width = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| width.0.into());
            let text: String = text.chars().take(usize::max(width, 2) - 1).collect();
            let _ = patient::errors().write_all(format!("\r\x1b[K{text}").as_bytes());
            self.shown = true;
        } else {
            self.next = now + LINE_PACE;
            let _ = patient::errors().write_all(format!("{text}\n").as_bytes());
        }
    }

    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = patient::errors().write_all(b"\r\x1b[K");
        }
    }

    /// Nothing stays on a terminal; elsewhere a last line says where it ended.
    pub(crate) fn end(&mut self) {
        self.clear();
        if let (false, Some(last)) = (self.terminal, self.last) {
            let text = text(last, self.total, self.started.elapsed());
            let _ = patient::errors().write_all(format!("{text}\n").as_bytes());
        }
    }
}

/// ` 45% [##########..............] 12.3 MiB of 27.1 MiB, 3456 entries, 85.2 MiB/s, 0:12 left`
pub(crate) fn text(progress: Progress, total: Option<u64>, elapsed: Duration) -> String {
    let mut text = String::new();
    let done = progress.bytes_in;
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    if let Some(total) = total.filter(|total| *total > 0) {
        let part = |whole: u64| (u128::from(done.min(total)) * u128::from(whole) / u128::from(total)) as u64;
        let full = part(CELLS) as usize;
        let _ = write!(text, "{:3}% [{}{}] ", part(100), "#".repeat(full), ".".repeat(CELLS as usize - full));
    }
    text.push_str(&bytes(done as f64));
    if let Some(total) = total {
        let _ = write!(text, " of {}", bytes(total as f64));
    }
    let _ = write!(text, ", {} entries, {}/s", progress.entries, bytes(rate));
    if let Some(left) = total.map(|total| total.saturating_sub(done)).filter(|_| rate >= 1.0 && elapsed > PATIENCE) {
        let seconds = (left as f64 / rate).ceil() as u64;
        let _ = write!(text, ", {}:{:02} left", seconds / 60, seconds % 60);
    }
    text
}

/// `27.1 MiB`
pub(crate) fn bytes(count: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut count = count;
    let mut unit = 0;
    while count >= 1024.0 && unit + 1 < UNITS.len() {
        count /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count:.0} B") } else { format!("{count:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes_in: u64, entries: u64) -> Progress {
        let mut progress = Progress::default();
        (progress.bytes_in, progress.entries) = (bytes_in, entries);
        progress
    }

    #[test]
    fn a_line_of_bytes_entries_and_rate() {
        let second = Duration::from_secs(1);
        assert_eq!(
            text(at(512 << 10, 7), Some(1 << 20), second),
            " 50% [############............] 512.0 KiB of 1.0 MiB, 7 entries, 512.0 KiB/s, 0:01 left"
        );
        assert_eq!(text(at(100, 7), None, second), "100 B, 7 entries, 100 B/s");
        // A file that grows, and an empty one.
        assert!(text(at(2048, 7), Some(1024), second).starts_with("100% [########################] 2.0 KiB of 1.0"));
        assert!(text(at(0, 0), Some(0), Duration::ZERO).starts_with("0 B of 0 B"));
    }
}
