//! `configure`: having containerd use the differ, and no longer.

use super::by_hand::by_hand;
use super::carry_out::{carry_out, verify};
use super::check::{Machine, rows};
use super::files::Change;
use super::plan::Plan;
use super::rows::{Row, State, any_bad};
use crate::args::{Configure, Whose};
use crate::config::{Settings, Wrong};
use crate::exit;
use crate::log::print;
use std::path::Path;
use std::process::ExitCode;

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
    let plan = Plan::of(asked, socket)?;
    match plan.is_empty() {
        true => {
            // Another file may have come since.
            if asked.write && asked.containerd_version.is_none() {
                verify(asked, None)?;
            }
            print(&format_args!("Nothing to change.\n"));
        }
        false if asked.dry_run => show(&plan),
        false => carry_out(asked, &plan)?,
    }
    if plan.docker.is_some() {
        print(&format_args!("{}\n", of_its_store(asked.remove)));
    }
    Ok(ExitCode::from(what_next(asked, settings, !plan.is_empty())))
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
    let rows = rows(&Machine {
        containerd: &asked.containerd,
        config: &asked.containerd_config,
        docker: &asked.docker_config,
        settings,
    });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::tables::NAME;
    use std::path::PathBuf;

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
        // Docker would not use it.
        std::fs::write(&daemon, "{\"userns-remap\": \"default\"}\n").expect("configuration");
        let refused = run_for("docker", dir.path(), "2.1.9", "--write").expect_err("of no use");
        assert!(refused.contains("userns-remap") && refused.contains("daemon.json"), "{refused}");
        assert!(!dir.path().join("conf.d/untar-in-root.toml").exists());
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
