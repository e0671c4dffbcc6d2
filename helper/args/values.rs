//! Values of options: tables of words, sizes, durations, maps of ids.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::time::Duration;
use untar_in_root::{IdRange, UserNamespace};

/// One word of an option: its name, its help, its meaning.
pub(super) type Word<T> = (&'static str, &'static str, T);

/// An option with a fixed set of words.
pub(super) fn words<T: Clone + Send + Sync>(table: &'static [Word<T>]) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(table.iter().map(|(name, help, _)| PossibleValue::new(name).help(help))).try_map(
        move |word| {
            let found = table.iter().find(|(name, ..)| *name == word);
            found.map(|(.., meaning)| meaning.clone()).ok_or("not one of the possible values")
        },
    )
}

/// How hard something is compressed.
pub(super) fn level(most: u8) -> impl Fn(&str) -> Result<u8, String> + Clone + Send + Sync + 'static {
    move |text| {
        let level = text.parse().ok().filter(|level| (1..=most).contains(level));
        level.ok_or_else(|| {
            format!("expected a level from 1 to {most}; what is not to be compressed goes without the option")
        })
    }
}

/// `10G`: powers of 1024; `none` is no limit.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const WRONG: &str = "expected a number of bytes, with K, M, G or T if need be (powers of 1024), or `none`";
    if text == "none" {
        return Ok(u64::MAX);
    }
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].trim_end_matches("iB").to_ascii_uppercase().as_str() {
        "" if !text.ends_with("iB") => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(WRONG.into()),
    };
    let number: u64 = digits.parse().map_err(|_| WRONG)?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".into())
}

/// Reads a size where the limit has 32 bits.
pub(super) fn small_size(text: &str) -> Result<u32, String> {
    match size(text)? {
        u64::MAX => Err("this limit cannot be lifted; expected a number".into()),
        number => u32::try_from(number).map_err(|_| "too large: at most 4294967295".into()),
    }
}

/// A number; `none` is no limit.
pub(super) fn count(text: &str) -> Result<u64, String> {
    match text {
        "none" => Ok(u64::MAX),
        text => text.parse().map_err(|_| "expected a number, or `none`".into()),
    }
}

/// `90`, `1.5`, `500ms`, `90s`, `5m`, `2h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const WRONG: &str = "expected seconds, or a number with ms, s, m or h";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(WRONG.into()),
    };
    let number: f64 = digits.parse().map_err(|_| WRONG)?;
    Duration::try_from_secs_f64(number * unit).map_err(|_| WRONG.into())
}

/// `UID:GID`
pub(super) fn owner(text: &str) -> Result<(u32, u32), String> {
    let ids = text.split_once(':').and_then(|(uid, gid)| Some((id(uid)?, id(gid)?)));
    ids.ok_or_else(|| "expected UID:GID, both numbers up to 4294967294; names are never looked up".into())
}

fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// `INSIDE:OUTSIDE:COUNT`, as umoci has it; without the count it is 1.
pub(super) fn id_range(text: &str) -> Result<IdRange, String> {
    const WRONG: &str = "expected INSIDE:OUTSIDE:COUNT, all numbers; several with commas between";
    let numbers: Vec<u32> = text.split(':').map(|n| n.parse().map_err(|_| WRONG)).collect::<Result<_, _>>()?;
    let (inside, outside, count) = match *numbers {
        [inside, outside] => (inside, outside, 1),
        [inside, outside, count] => (inside, outside, count),
        _ => return Err(WRONG.into()),
    };
    let fits = |first: u32| count > 0 && first.checked_add(count - 1).is_some_and(|last| last != u32::MAX);
    if !fits(inside) || !fits(outside) {
        return Err("a range holds at least one id and ends at 4294967294 or below".into());
    }
    Ok(IdRange { inside, outside, count })
}

/// Each id of the archive has one meaning: ranges of one map must not overlap on the inside. Several may lead to one id on
/// disk, but not in a user namespace, which reads its map in both directions.
pub(super) fn check_map(option: &str, ranges: &[IdRange], invertible: bool) -> Result<(), String> {
    let overlap = |a: u32, b: u32, x: &IdRange, y: &IdRange| {
        u64::from(a) < u64::from(b) + u64::from(y.count) && u64::from(b) < u64::from(a) + u64::from(x.count)
    };
    for (at, x) in ranges.iter().enumerate() {
        for y in &ranges[at + 1..] {
            if overlap(x.inside, y.inside, x, y) {
                return Err(format!("the ranges {x} and {y} of {option} overlap"));
            }
            if invertible && overlap(x.outside, y.outside, x, y) {
                let why = "the kernel takes no map of a user namespace that leads from two ids to one";
                return Err(format!("the ranges {x} and {y} of {option} overlap on disk: {why}"));
            }
        }
    }
    Ok(())
}

/// `auto`, `never`, `single`, or `MAP[/MAP]` for uids and gids.
pub(super) fn user_namespace(text: &str) -> Result<UserNamespace, String> {
    let map = |text: &str| -> Result<Vec<IdRange>, String> {
        let ranges = text.split(',').map(id_range).collect::<Result<Vec<_>, _>>();
        let ranges =
            ranges.map_err(|why| format!("{why}; or one of auto, never, single; maps as UIDMAP or UIDMAP/GIDMAP"))?;
        check_map("--userns", &ranges, true).map(|()| ranges)
    };
    Ok(match text {
        "auto" => UserNamespace::Auto,
        "never" => UserNamespace::Never,
        "single" => UserNamespace::Single,
        text => {
            let (uids, gids) = text.split_once('/').unwrap_or((text, text));
            UserNamespace::Mapped { uids: map(uids)?, gids: map(gids)? }
        }
    })
}
