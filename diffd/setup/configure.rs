//! `configure`: having containerd use the differ, and no longer.

use super::by_hand::by_hand;
use super::check::{Machine, rows};
use super::containerd::{dump, said_by};
use super::docker;
use super::files::{Change, Staged, read};
use super::imports;
use super::rows::{Row, State, any_bad};
use super::said::Said;
use super::tables::{self, Wanted};
use super::take::take;
use super::version::{OLDEST, Version};
use crate::args::{Configure, Whose};
use crate::config::{Settings, Wrong};
use crate::exit;
use crate::log::print;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is to be done, and to whose files.
struct Plan {
    containerd: Vec<Change>,
    docker: Option<Change>,
}

impl Plan {
    fn all(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.containerd.iter().chain(&self.docker)
    }
}

/// Ends as `check` does where it has written something that cannot be used yet.
///
/// # Errors
///
/// A containerd too old, a file that is no configuration or cannot be written, or one that containerd does not take.
pub(crate) fn configure(
    asked: &Configure,
    socket: &Path,
    settings: &Result<Settings, Wrong>,
) -> Result<ExitCode, String> {
    let socket = socket.to_str().ok_or("the socket's path is not UTF-8")?;
    match asked.whose {
        Whose::Containerd | Whose::Docker => {}
        Whose::K3s | Whose::Rke2 | Whose::Kind if asked.dry_run && !asked.remove => {
            print(&format_args!("{}", by_hand(asked, socket)?));
            return Ok(ExitCode::from(exit::DONE));
        }
        _ => return Err("these files have other owners: --dry-run prints what goes into them".into()),
    }
    let containerd = if asked.remove { removed(asked)? } else { added(asked, socket)? };
    let docker = if asked.whose == Whose::Docker { of_docker(asked)? } else { None };
    let plan = Plan { containerd, docker };
    match plan.all().next() {
        None => {
            // Another file may have come since.
            if asked.write && asked.containerd_version.is_none() {
                verify(asked, None)?;
            }
            print(&format_args!("Nothing to change.\n"));
        }
        Some(_) if asked.dry_run => show(&plan),
        Some(_) => carry_out(asked, &plan)?,
    }
    if plan.docker.is_some() {
        print(&format_args!("{}\n", of_its_store(asked.remove)));
    }
    Ok(ExitCode::from(what_next(asked, settings, plan.all().next().is_some())))
}

/// What is to be done for it to take effect, and how the command ends.
fn what_next(asked: &Configure, settings: &Result<Settings, Wrong>, changed: bool) -> u8 {
    if asked.write && wanting(asked, settings) {
        return exit::WANTING;
    }
    match changed {
        _ if asked.dry_run => {}
        true => print(&format_args!("Restart {} for it to take effect.\n", to_restart(asked))),
        false if asked.write => {
            print(&format_args!("Restart {}, if that was not done since it was written.\n", to_restart(asked)));
        }
        false => {}
    }
    exit::DONE
}

fn to_restart(asked: &Configure) -> &'static str {
    if asked.whose == Whose::Docker { "containerd, then Docker" } else { "containerd" }
}

/// With the eyes of `check`, whether anything is between this configuration and a pull that works; what it is, is said.
fn wanting(asked: &Configure, settings: &Result<Settings, Wrong>) -> bool {
    if asked.containerd_version.is_some() {
        print(&"containerd was not asked: `untar-in-root-diffd check` says on its machine what is wanting.\n");
        return false;
    }
    let rows = rows(&Machine { containerd: &asked.containerd, config: &asked.containerd_config, settings });
    rows.iter().filter(|row| row.state != State::Good).for_each(Row::show);
    if !any_bad(&rows) {
        return false;
    }
    print(&format_args!(
        "It is written, but with what is marked NO pulls would fail. Mend that first (`untar-in-root-diffd check` looks \
         again), then restart {}. `configure --remove` takes it out again.\n",
        to_restart(asked)
    ));
    true
}

fn show(plan: &Plan) {
    for Change { path, after, .. } in plan.all() {
        match after {
            Some(text) => print(&format_args!("# {}\n{text}", path.display())),
            None => print(&format_args!("# {} is removed\n", path.display())),
        }
    }
}

/// Docker shows what is in the store that it uses, and keeps the other.
fn of_its_store(remove: bool) -> &'static str {
    if remove {
        "# From Docker's restart on, images and containers of the containerd image store are not shown; they stay on the disk."
    } else {
        "# From Docker's restart on, images and containers of the store before are not shown; `--remove --for docker` \
         shows them again."
    }
}

/// What it says before and after is compared where containerd is there to be asked.
fn carry_out(asked: &Configure, plan: &Plan) -> Result<(), String> {
    let config = &asked.containerd_config;
    let before = asked.containerd_version.is_none().then(|| dump(&asked.containerd, config));
    let before = match before {
        // What is broken already may lose what is ours all the same.
        Some(Err(_)) if asked.remove => None,
        Some(dumped) => Some(dumped.and_then(|text| Said::by(&text)).map_err(|e| unread(config, &e))?),
        None => None,
    };
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
fn verify(asked: &Configure, before: Option<&Said>) -> Result<(), String> {
    let now = Said::by(&dump(&asked.containerd, &asked.containerd_config)?)?;
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

/// In a file of its own, unless that would replace lists of the main one, or whole tables (1.7).
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
fn others(asked: &Configure) -> Vec<PathBuf> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::tables::NAME;

    fn run(dir: &Path, version: &str, act: &str) -> Result<ExitCode, String> {
        run_for("containerd", dir, version, act)
    }

    fn run_for(whose: &str, dir: &Path, version: &str, act: &str) -> Result<ExitCode, String> {
        let docker = dir.join("daemon.json");
        let (config, drop_in) = (dir.join("config.toml"), dir.join("conf.d"));
        let asked = Configure::of([
            "configure".as_ref(),
            act.as_ref(),
            "--containerd-version".as_ref(),
            version.as_ref(),
            "--containerd-config".as_ref(),
            config.as_os_str(),
            "--drop-in".as_ref(),
            drop_in.as_os_str(),
            "--docker-config".as_ref(),
            docker.as_os_str(),
            "--for".as_ref(),
            whose.as_ref(),
        ]);
        let nowhere = Wrong::Value(PathBuf::new(), "containerd is not asked here");
        configure(&asked, Path::new("/run/s"), &Err(nowhere))
    }

    #[test]
    fn on_two_a_file_of_its_own_is_imported_and_removed() {
        let dir = tempfile::tempdir().expect("directory");
        std::fs::write(dir.path().join("config.toml"), "version = 3\n# mine\n").expect("configuration");
        run(dir.path(), "2.1.9", "--write").expect("written");
        let main = std::fs::read_to_string(dir.path().join("config.toml")).expect("configuration");
        assert!(main.contains("# mine") && main.contains("conf.d/*.toml"), "{main}");
        let ours = dir.path().join("conf.d/untar-in-root.toml");
        assert!(std::fs::read_to_string(&ours).expect("drop-in").contains("/run/s"));
        let other = dir.path().join("conf.d/other.toml");
        std::fs::write(&other, "").expect("another's");
        run(dir.path(), "2.1.9", "--remove").expect("removed");
        let config = || std::fs::read_to_string(dir.path().join("config.toml")).expect("configuration");
        assert!(!ours.exists() && config() == main, "the other is imported yet");
        std::fs::remove_file(other).expect("gone");
        run(dir.path(), "2.1.9", "--write").expect("written");
        run(dir.path(), "2.1.9", "--remove").expect("removed");
        assert_eq!(config(), "version = 3\n# mine\n");
    }

    #[test]
    fn on_one_seven_the_tables_stand_where_they_are_read() {
        let dir = tempfile::tempdir().expect("directory");
        run(dir.path(), "1.7.24", "--write").expect("written");
        let main = std::fs::read_to_string(dir.path().join("config.toml")).expect("configuration");
        assert!(main.starts_with("version = 2") && main.contains(NAME), "{main}");
        assert!(!dir.path().join("conf.d").exists());
        run(dir.path(), "1.7.24", "--remove").expect("removed");
        let main = std::fs::read_to_string(dir.path().join("config.toml")).expect("configuration");
        assert!(!main.contains(NAME), "{main}");
    }

    #[test]
    fn for_docker_its_store_is_switched_too_and_not_otherwise() {
        const MINE: &str = "{\n  \"debug\": true\n}\n";
        let dir = tempfile::tempdir().expect("directory");
        let daemon = dir.path().join("daemon.json");
        run(dir.path(), "2.1.9", "--write").expect("written");
        assert!(!daemon.exists());
        std::fs::write(&daemon, MINE).expect("configuration");
        run_for("docker", dir.path(), "2.1.9", "--dry-run").expect("printed");
        assert_eq!(std::fs::read_to_string(&daemon).expect("daemon.json"), MINE);
        run_for("docker", dir.path(), "2.1.9", "--write").expect("written");
        assert!(std::fs::read_to_string(&daemon).expect("daemon.json").contains("containerd-snapshotter"));
        assert!(dir.path().join("conf.d/untar-in-root.toml").exists());
        // The differ goes, Docker's images stay in sight.
        run(dir.path(), "2.1.9", "--remove").expect("removed");
        assert!(std::fs::read_to_string(&daemon).expect("daemon.json").contains("containerd-snapshotter"));
        run_for("docker", dir.path(), "2.1.9", "--remove").expect("removed");
        assert_eq!(std::fs::read_to_string(&daemon).expect("daemon.json"), MINE);
        // Nothing is written if one of them cannot be.
        std::fs::write(&daemon, "{").expect("configuration");
        assert!(run_for("docker", dir.path(), "2.1.9", "--write").expect_err("no JSON").contains("daemon.json"));
        assert!(!dir.path().join("conf.d/untar-in-root.toml").exists());
    }

    #[test]
    fn too_old_a_containerd_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().expect("directory");
        for version in ["1.6.20", "1.7.3"] {
            let refused = run(dir.path(), version, "--write").expect_err("too old");
            assert!(refused.contains("1.7.4") && refused.contains("Nothing was written"), "{refused}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("directory").count(), 0);
    }
}
