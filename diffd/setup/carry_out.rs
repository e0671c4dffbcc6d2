//! Writing what `configure` has planned: tried out before, looked at together after, and put back where that fails.

use super::containerd::dump;
use super::files::{Change, Staged, read};
use super::plan::{Plan, others};
use super::said::Said;
use super::tables;
use crate::args::Configure;
use crate::log::print;
use std::path::{Path, PathBuf};

/// What it says before and after is compared where containerd is there to be asked.
pub(super) fn carry_out(asked: &Configure, plan: &Plan) -> Result<(), String> {
    let config = &asked.containerd_config;
    let before = asked.containerd_version.is_none().then(|| dump(&asked.containerd, config));
    let before = match before {
        // What is broken already may lose what is ours all the same.
        Some(Err(_)) if asked.remove => None,
        Some(dumped) => Some(dumped.and_then(|text| Said::by(&text)).map_err(|e| unread(config, &e))?),
        None => None,
    };
    if let Some(before) = before.as_ref().filter(|_| !asked.remove) {
        loads(before).map_err(|why| format!("{why}. Nothing was written"))?;
    }
    let containerd: Vec<Staged> = plan.containerd.iter().map(Change::stage).collect::<Result<_, _>>()?;
    let docker = plan.docker.as_ref().map(Change::stage).transpose()?;
    if before.is_some() {
        try_out(asked, plan, &containerd)?;
    }
    for (change, staged) in plan.all().zip(containerd.into_iter().chain(docker)) {
        staged.place().map_err(|e| change.named(&e))?;
        print(&format_args!(
            "{} {}\n",
            if change.after.is_some() { "wrote" } else { "removed" },
            change.path.display()
        ));
    }
    if let Some(before) = before.filter(|_| !asked.remove) {
        verify(asked, Some(&before)).map_err(|why| take_back(plan, &why))?;
    }
    Ok(())
}

fn unread(config: &Path, words: &str) -> String {
    format!("{}: containerd does not read it: {words}. Nothing was written", config.display())
}

/// Each new file by itself, before containerd can come upon it.
fn try_out(asked: &Configure, plan: &Plan, staged: &[Staged]) -> Result<(), String> {
    for (change, staged) in plan.containerd.iter().zip(staged) {
        if let Some(beside) = &staged.beside {
            dump(&asked.containerd, beside).map_err(|e| unread(&change.path, &e))?;
        }
    }
    Ok(())
}

/// All files together: one that is imported later may say otherwise, and lists are replaced, not merged.
pub(super) fn verify(asked: &Configure, before: Option<&Said>) -> Result<(), String> {
    let now = Said::by(&dump(&asked.containerd, &asked.containerd_config)?)?;
    loads(&now)?;
    if let Some(lost) = before.and_then(|before| now.lost(before)) {
        return Err(format!(
            "another imported file lists {lost:?}, which these would hide: move its list to config.toml"
        ));
    }
    match (now.by_service, now.by_transfer) {
        (true, true) => Ok(()),
        (false, _) => Err(comes_after(asked, "a `default` of diff-service")),
        _ => Err(comes_after(asked, "an `unpack_config`")),
    }
}

/// Its configuration of what it does not load, containerd does not say.
fn loads(said: &Said) -> Result<(), String> {
    match said.unloaded() {
        None => Ok(()),
        Some(name) => Err(format!(
            "containerd does not load {name}, which asks differs: take it out of its `disabled_plugins` first"
        )),
    }
}

/// What the lists of another file are worth, its owner knows: they are to be moved, since nothing of them is to be lost.
fn comes_after(asked: &Configure, what: &str) -> String {
    let lists = |path: &PathBuf| read(path).ok().flatten().is_some_and(|text| tables::lists_differs(&text) == Ok(true));
    let files: Vec<_> = others(asked).into_iter().filter(lists).collect();
    let files: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
    let files = if files.is_empty() { "another imported file".into() } else { files.join(" or ") };
    format!(
        "{files} has {what} that comes after: move its list into {}, where ours is added to it",
        asked.containerd_config.display()
    )
}

fn take_back(plan: &Plan, why: &str) -> String {
    let left: Vec<String> = plan.all().rev().filter_map(|change| change.undo().err()).collect();
    if left.is_empty() {
        print(&format_args!("All was put back as it was.\n"));
        return why.to_owned();
    }
    format!("{why}; could not be put back: {}", left.join("; "))
}
