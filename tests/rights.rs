//! Attributes that carry ids or rights: every cell of the table in SECURITY.md, in every spelling, looked at as the
//! plain users of the host whom it must not help. The kernel answers: a program is run, a file is read and written.

mod acting;
mod cases;
mod settings;

use std::fs;
use std::path::Path;

use untar_in_root::{Error, EventKind, Report};

use crate::support::privilege::{need_root, need_userns, skip, test_name};
use crate::support::run::apply;
use crate::support::scratch::Scratch;
use acting::{Looked, look};
use cases::{Case, Row, Want, rows, tarball};
use settings::Setting;

/// All cells of one policy on owners.
fn policy(column: usize) {
    let scratch = Scratch::new();
    let nosuid = rustix::fs::statvfs(scratch.path()).is_ok_and(|stat| stat.f_flag.bits() & 2 != 0);
    if !need_root() || !need_userns() || nosuid && !skip("the temporary directory is nosuid") {
        return;
    }
    let (rows, mut cells, mut runs, mut wrong) = (rows(), 0, 0, Vec::new());
    for setting in Setting::all(column) {
        cells += rows.len();
        // Rows with the same options share a run, but for what ends it.
        for options in [(false, false), (true, false), (false, true), (true, true)] {
            let alike = rows.iter().filter(|row| (row.allowed, row.upper) == options);
            let cases = alike.flat_map(|row| row.cases.iter().map(move |case| (row, case)));
            let cases = cases.map(|(row, case)| (row, case, case.want(row, &setting)));
            let (ending, lasting): (Vec<_>, Vec<_>) = cases.partition(|(.., want)| matches!(want, Want::Fails(..)));
            // Names in percents have been seen where nothing ends.
            let apart = ending.into_iter().filter(|(_, case, _)| !case.record.contains('%')).map(|case| vec![case]);
            for group in apart.chain([lasting]).filter(|group| !group.is_empty()) {
                runs += 1;
                wrong.extend(run(&scratch.join("dest"), &setting, &group));
            }
        }
    }
    println!("{}: cells: {cells}, runs: {runs}, surprises: {}", test_name(), wrong.len());
    assert!(wrong.is_empty(), "{} surprises:\n{}", wrong.len(), wrong.join("\n"));
}

/// Applies one archive and looks at what came of it.
fn run(dest: &Path, setting: &Setting, group: &[(&Row, &Case, Want)]) -> Vec<String> {
    _ = fs::remove_dir_all(dest);
    fs::create_dir(dest).expect("a destination");
    setting.give(dest);
    let cases: Vec<&Case> = group.iter().map(|(_, case, _)| *case).collect();
    let (allowed, upper) = (group[0].0.allowed, group[0].0.upper);
    let outcome = apply(dest, &tarball(&cases), |options| setting.choose(options, allowed, upper));
    if outcome.is_err() && group.len() > 1 {
        // One of them should not have ended it: each apart tells which.
        return group.iter().flat_map(|case| run(&dest.join("apart"), setting, std::slice::from_ref(case))).collect();
    }
    let looked = look(dest, setting, &cases);
    let mut wrong = Vec::new();
    for (at, ((row, case, want), looked)) in group.iter().zip(looked).enumerate() {
        let told = |what: String| format!("{} / {setting} / {}: {what}", row.name, case.record);
        wrong.extend(surprise(&outcome, at, case, want, &looked).map(told));
        wrong.extend(looked.unearned(case, want).map(told));
    }
    wrong
}

/// What is told and on disk, against what should be.
fn surprise(outcome: &Result<Report, Error>, at: usize, case: &Case, want: &Want, looked: &Looked) -> Option<String> {
    let (name, file) = (case.name.as_bytes(), cases::file_name(at));
    let report = match (outcome, want) {
        (Err(error), Want::Fails(kind)) => {
            let right = error.kind() == *kind && looked.value.is_none();
            return (!right).then(|| format!("{error:?}, on disk {:?}", looked.value));
        }
        (Err(error), _) => return Some(format!("failed: {error}")),
        (Ok(report), _) => report,
    };
    let path = |path: &[u8]| String::from_utf8_lossy(path).trim_end_matches('/').to_owned();
    let events = report.events.iter().filter(|event| event.entry.as_ref().is_some_and(|e| path(&e.path) == file));
    let events: Vec<_> = events.map(|event| event.what.clone()).collect();
    let dropped = EventKind::XattrDropped { name: name.into() };
    let (told, value) = match want {
        Want::Dropped => (vec![dropped], None),
        Want::Lost => (vec![EventKind::XattrUnsupported { name: name.into(), errno: 22 }], None),
        Want::Escaped => (vec![EventKind::XattrEscaped { name: name.into() }], None),
        Want::OnDisk(value) => (vec![], Some(value)),
        Want::OnlyTheMode => (vec![], None),
        Want::Fails(kind) => return Some(format!("applied, not {kind:?}; on disk {:?}", looked.value)),
    };
    let escaped = looked.escaped.is_some() == matches!(want, Want::Escaped);
    let right = events == told && looked.value.as_ref() == value && escaped;
    (!right).then(|| format!("want {want:?}, on disk {:?}, told {events:?}", looked.value))
}

#[test]
fn rule_13_every_cell_of_rights_with_the_archives_owners() {
    policy(1);
}

#[test]
fn rule_13_every_cell_of_rights_with_mapped_owners() {
    policy(2);
}

#[test]
fn rule_13_every_cell_of_rights_with_a_forced_owner() {
    policy(3);
}

#[test]
fn rule_13_every_cell_of_rights_with_the_callers_owner() {
    policy(4);
}
