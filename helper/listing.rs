//! `--list` as text: the lines of `TZ=UTC tar -tv --numeric-owner`.

use std::fmt::Write as _;
use untar_in_root::{EntryKind, Escaped, Listed};

/// The width that GNU tar begins with for owner and size.
const WIDTH: usize = 19;

/// Lines whose owner and size share a column, which grows.
pub(crate) struct Listing {
    width: usize,
}

impl Listing {
    pub(crate) fn new() -> Listing {
        Listing { width: WIDTH }
    }

    pub(crate) fn line(&mut self, entry: &Listed) -> String {
        let size = match entry.device {
            Some(device) => format!("{},{}", device.major, device.minor),
            None => entry.size.to_string(),
        };
        let owner = format!("{}/{}", entry.uid, entry.gid);
        self.width = self.width.max(owner.len() + 1 + size.len());
        let room = self.width - owner.len() - 1;
        let mut line = format!("{} {owner} {size:>room$} {} {}", mode(entry), time(entry.mtime), Escaped(&entry.path));
        let link = Escaped(&entry.link);
        let _ = match entry.kind {
            EntryKind::Symlink => write!(line, " -> {link}"),
            EntryKind::Hardlink => write!(line, " link to {link}"),
            EntryKind::Other(b'V') => write!(line, "--Volume Header--"),
            EntryKind::Other(b'M') => write!(line, "--Continued--"),
            _ => Ok(()),
        };
        line
    }
}

/// `-rwsr-xr-x`
fn mode(entry: &Listed) -> String {
    let kind = match entry.kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Hardlink => 'h',
        EntryKind::CharDevice => 'c',
        EntryKind::BlockDevice => 'b',
        EntryKind::Fifo => 'p',
        EntryKind::Socket => 's',
        EntryKind::Other(flag @ (b'V' | b'M')) => flag.into(),
        _ => '?',
    };
    let mut text = String::from(kind);
    for (shift, special, with, without) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (entry.mode & special != 0, bits & 1 != 0) {
            (true, true) => with,
            (true, false) => without,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// `2026-11-23 21:04`, UTC: no time zone is looked up for an archive.
fn time(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", second / 3600, second / 60 % 60)
}

/// The proleptic Gregorian date of a day since 1970, in eras of 400 years that begin on 1 March.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (month, day) = ((month + 2) % 12 + 1, day - (153 * month + 2) / 5 + 1);
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_civil() {
        for (seconds, want) in [
            (0, "1970-01-01 00:00"),
            (-1, "1969-12-31 23:59"),
            (951_827_696, "2000-02-29 12:34"),
            (4_107_542_400, "2100-03-01 00:00"),
            (253_402_300_800, "10000-01-01 00:00"),
            (-62_135_596_800, "0001-01-01 00:00"),
        ] {
            assert_eq!(time(seconds), want);
        }
        time(i64::MIN);
        time(i64::MAX);
    }
}
