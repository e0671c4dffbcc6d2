//! `configure`: having containerd use the differ, and no longer.

use super::docker;
use super::said_by;
use super::tables::{self, NAME, Wanted};
use super::version::{OLDEST, Version};
use crate::args::{Configure, Whose};
use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use toml_edit::{Array, DocumentMut, value};

/// A file as it is to be; `None` is no file.
struct Change {
    path: PathBuf,
    text: Option<String>,
}

/// # Errors
///
/// A containerd too old, a file that is no configuration or cannot be written.
#[allow(clippy::print_stdout)]
pub(crate) fn configure(asked: &Configure, socket: &Path) -> Result<(), String> {
    let socket = socket.to_str().ok_or("the socket's path is not UTF-8")?;
    match asked.whose {
        Whose::Containerd | Whose::Docker => {}
        Whose::K3s | Whose::Rke2 | Whose::Kind if asked.dry_run => {
            print!("{}", by_hand(asked, socket)?);
            return Ok(());
        }
        _ => return Err("these files have other owners: --dry-run prints what goes into them".into()),
    }
    let mut changes = if asked.remove { removed(asked)? } else { added(asked, socket)? };
    if asked.whose == Whose::Docker {
        changes.extend(of_docker(asked)?);
    }
    for change in &changes {
        match (&change.text, asked.dry_run) {
            (Some(text), true) => print!("# {}\n{text}", change.path.display()),
            (_, true) => {}
            _ => make(change).map_err(|e| format!("{}: {e}", change.path.display()))?,
        }
    }
    if !asked.dry_run {
        for change in &changes {
            println!("{} {}", if change.text.is_some() { "wrote" } else { "removed" }, change.path.display());
        }
        let and_docker = if asked.whose == Whose::Docker { ", then Docker," } else { "" };
        println!("Restart containerd{and_docker} for it to take effect.");
    }
    Ok(())
}

fn version(asked: &Configure) -> Result<Version, String> {
    let version = match &asked.containerd_version {
        Some(text) => Version::parse(text),
        None => said_by(&asked.containerd, &["--version"]).and_then(|text| Version::find(&text)),
    };
    match version {
        None => Err(format!("{} --version says no version: --containerd-version says it", asked.containerd)),
        Some(version) if version < OLDEST => Err(format!(
            "containerd {version} has no plug-ins of type diff, and may not start with one: {OLDEST} is the first. \
             Nothing was written"
        )),
        Some(version) => Ok(version),
    }
}

fn wanted(socket: &str, version: i64) -> Wanted<'_> {
    let platform = match std::env::consts::ARCH {
        "aarch64" => "linux/arm64",
        "riscv64" => "linux/riscv64",
        _ => "linux/amd64",
    };
    Wanted { socket, platform, version }
}

fn added(asked: &Configure, socket: &str) -> Result<Vec<Change>, String> {
    let main = read(&asked.containerd_config)?;
    if !version(asked)?.merges_imports() {
        let text = tables::put(&main.unwrap_or_default(), &wanted(socket, 2))?;
        return Ok(vec![Change { path: asked.containerd_config.clone(), text: Some(text) }]);
    }
    let drop_in = Change { path: drop_in(asked), text: Some(tables::put("", &wanted(socket, 3))?) };
    let pattern = asked.drop_in.join("*.toml").display().to_string();
    let main = imports(&main.unwrap_or_else(|| "version = 3\n".into()), &pattern)?;
    Ok(main
        .map(|text| Change { path: asked.containerd_config.clone(), text: Some(text) })
        .into_iter()
        .chain([drop_in])
        .collect())
}

/// The import of other files stays: others may be there by now, and one that leads to none means nothing.
fn removed(asked: &Configure) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    if drop_in(asked).exists() {
        changes.push(Change { path: drop_in(asked), text: None });
    }
    if let Some(text) = read(&asked.containerd_config)?.filter(|text| text.contains(NAME)) {
        changes.push(Change { path: asked.containerd_config.clone(), text: Some(tables::take(&text)?) });
    }
    Ok(changes)
}

/// Docker has two stores and shows what is in the one that it uses.
fn of_docker(asked: &Configure) -> Result<Option<Change>, String> {
    let path = &asked.docker_config;
    let text = read(path)?.unwrap_or_default();
    let text = if asked.remove { docker::take(&text) } else { docker::put(&text) };
    let text = text.map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(text.map(|text| Change { path: path.clone(), text: Some(text) }))
}

fn drop_in(asked: &Configure) -> PathBuf {
    asked.drop_in.join("untar-in-root.toml")
}

fn read(path: &Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// The main file with the import, `None` if it has it.
fn imports(text: &str, pattern: &str) -> Result<Option<String>, String> {
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
    let list = document.entry("imports").or_insert_with(|| value(Array::new()));
    let list = list.as_array_mut().ok_or("`imports` is no array")?;
    if list.iter().any(|entry| entry.as_str() == Some(pattern)) {
        return Ok(None);
    }
    list.push(pattern);
    Ok(Some(document.to_string()))
}

/// Whole or not at all.
fn make(change: &Change) -> io::Result<()> {
    let Some(text) = &change.text else { return std::fs::remove_file(&change.path) };
    if let Some(parent) = change.path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut beside = change.path.as_os_str().to_owned();
    beside.push(".new");
    let _ = std::fs::remove_file(&beside);
    // There may be passwords in it.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    let mode = std::fs::metadata(&change.path).map_or(0o644, |metadata| metadata.permissions().mode() & 0o7777);
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    std::fs::rename(&beside, &change.path)
}

/// What goes into a file that is another's, and where that one's content root is.
fn by_hand(asked: &Configure, socket: &str) -> Result<String, String> {
    let tables = tables::put("", &wanted(socket, 3))?;
    let mut document: DocumentMut = tables.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
    document.as_table_mut().remove("version");
    let tables = document.to_string();
    Ok(match asked.whose {
        Whose::K3s => template("k3s", is_of_one(asked), &tables),
        Whose::Rke2 => template("rke2", is_of_one(asked), &tables),
        _ => {
            let indented: String = tables.lines().map(|line| format!("  {line}\n")).collect();
            format!("containerdConfigPatches:\n- |-\n{indented}")
        }
    })
}

/// Of a distribution that is still on containerd 1.7; they bring their own, which is not asked.
fn is_of_one(asked: &Configure) -> bool {
    let version = asked.containerd_version.as_deref().and_then(Version::parse);
    version.is_some_and(|version| !version.merges_imports())
}

fn template(name: &str, of_one: bool, tables: &str) -> String {
    let (root, file) =
        (format!("/var/lib/rancher/{name}/agent"), if of_one { "config.toml.tmpl" } else { "config-v3.toml.tmpl" });
    format!(
        "# {root}/etc/containerd/{file}; in /etc/untar-in-root/diffd.toml: content-root = \"{root}/containerd\"\n\
         {{{{ template \"base\" . }}}}\n{tables}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        configure: Configure,
    }

    fn run(dir: &Path, version: &str, act: &str) -> Result<(), String> {
        run_for("containerd", dir, version, act)
    }

    fn run_for(whose: &str, dir: &Path, version: &str, act: &str) -> Result<(), String> {
        let docker = dir.join("daemon.json");
        let (config, drop_in) = (dir.join("config.toml"), dir.join("conf.d"));
        let line = Line::parse_from([
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
        configure(&line.configure, Path::new("/run/s"))
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
        run(dir.path(), "2.1.9", "--remove").expect("removed");
        assert!(!ours.exists());
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

    #[test]
    fn templates_of_others_are_printed() {
        let text = |whose: &str, more: &[&str]| {
            let words = ["configure", "--dry-run", "--for", whose].into_iter().chain(more.iter().copied());
            by_hand(&Line::parse_from(words).configure, "/run/s").expect("text")
        };
        let k3s = text("k3s", &[]);
        assert!(k3s.contains("\n{{ template \"base\" . }}\n") && k3s.contains("k3s/agent/containerd\""), "{k3s}");
        assert!(k3s.lines().next().is_some_and(|line| line.contains("/config-v3.toml.tmpl")), "{k3s}");
        let old = text("rke2", &["--containerd-version", "1.7.24"]);
        assert!(old.starts_with("# /var/lib/rancher/rke2/agent/etc/containerd/config.toml.tmpl"), "{old}");
        let patch = text("kind", &[]);
        assert!(patch.starts_with("containerdConfigPatches:\n- |-\n  ") && !patch.contains("version ="), "{patch}");
    }
}
