//! What `configure` is to change, and in whose files; nothing is written here.

use super::containerd::said_by;
use super::docker;
use super::files::{Change, read};
use super::imports;
use super::tables::{self, Wanted};
use super::take::take;
use super::version::{OLDEST, Version};
use crate::args::{Configure, Whose};
use std::path::PathBuf;

/// What is to be done, and to whose files.
pub(super) struct Plan {
    pub(super) containerd: Vec<Change>,
    pub(super) docker: Option<Change>,
}

impl Plan {
    /// # Errors
    ///
    /// A containerd too old, or a file that is no configuration.
    pub(super) fn of(asked: &Configure, socket: &str) -> Result<Plan, String> {
        let containerd = if asked.remove { removed(asked)? } else { added(asked, socket)? };
        let docker = if asked.whose == Whose::Docker { of_docker(asked)? } else { None };
        Ok(Plan { containerd, docker })
    }

    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.containerd.iter().chain(&self.docker)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }
}

fn version(asked: &Configure) -> Result<Version, String> {
    let version = match &asked.containerd_version {
        Some(text) => {
            Version::parse(text).ok_or(format!("--containerd-version {text}: no version, as 1.7.24 is one"))?
        }
        None => asked_for_it(&asked.containerd)?,
    };
    match version {
        version if version < OLDEST => Err(format!(
            "containerd {version} has no plug-ins of type diff, and may not start with one: {OLDEST} is the first. \
             Nothing was written"
        )),
        version => Ok(version),
    }
}

fn asked_for_it(program: &str) -> Result<Version, String> {
    let said = said_by(program, &["--version"]);
    let said = said.map_err(|e| format!("{e}. --containerd names it; --containerd-version does without it"))?;
    let none = || format!("{program} --version says no version, but {said:?}; --containerd-version says it");
    Version::find(&said).ok_or_else(none)
}

/// What is added, in a file of its own, unless that would replace lists of the main one, or whole tables (1.7).
fn added(asked: &Configure, socket: &str) -> Result<Vec<Change>, String> {
    let (path, merges) = (&asked.containerd_config, version(asked)?.merges_imports());
    let main = read(path)?;
    let text = main.clone().unwrap_or_default();
    let named = |e: String| format!("{}: {e}", path.display());
    if !merges || tables::lists_differs(&text).map_err(named)? {
        let wanted = Wanted { socket, version: if merges { 3 } else { 2 } };
        let text = tables::put(&text, &wanted).map_err(named)?;
        let main = Change::of(path, main, Some(text));
        return Ok(main.into_iter().chain(without_drop_in(asked)?).collect());
    }
    let pattern = pattern(asked);
    let text = main.clone().unwrap_or_else(|| "version = 3\n".into());
    let text = imports::put(&text, &pattern).map_err(named)?;
    let ours = tables::put("", &Wanted { socket, version: 3 })?;
    let ours = Change::of(&drop_in(asked), read(&drop_in(asked))?, Some(ours));
    Ok(ours.into_iter().chain(Change::of(path, main, Some(text))).collect())
}

/// The import of other files stays where there are any.
fn removed(asked: &Configure) -> Result<Vec<Change>, String> {
    let path = &asked.containerd_config;
    let named = |e: String| format!("{}: {e}", path.display());
    let main = match read(path)? {
        None => None,
        Some(text) => {
            let mut taken = take(&text).map_err(named)?.unwrap_or_else(|| text.clone());
            if others(asked).is_empty() {
                taken = imports::take(&taken, &pattern(asked)).map_err(named)?;
            }
            Change::of(path, Some(text), Some(taken))
        }
    };
    Ok(without_drop_in(asked)?.into_iter().chain(main).collect())
}

fn pattern(asked: &Configure) -> String {
    asked.drop_in.join("*.toml").display().to_string()
}

/// Other files than ours that the pattern leads to.
pub(super) fn others(asked: &Configure) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&asked.drop_in).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_other = |path: &PathBuf| *path != drop_in(asked) && path.extension().is_some_and(|end| end == "toml");
    let mut others: Vec<_> = entries.filter(is_other).collect();
    others.sort();
    others
}

fn without_drop_in(asked: &Configure) -> Result<Option<Change>, String> {
    let path = drop_in(asked);
    Ok(Change::of(&path, read(&path)?, None))
}

/// Docker has two stores and shows what is in the one that it uses.
fn of_docker(asked: &Configure) -> Result<Option<Change>, String> {
    let path = &asked.docker_config;
    let before = read(path)?;
    let text = before.as_deref().unwrap_or_default();
    let text = if asked.remove { docker::take(text) } else { docker::put(text) };
    let after = text.map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(after.and_then(|after| Change::of(path, before, Some(after))))
}

fn drop_in(asked: &Configure) -> PathBuf {
    asked.drop_in.join("untar-in-root.toml")
}
