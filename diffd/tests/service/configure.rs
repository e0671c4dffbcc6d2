//! `configure` beside one containerd or another, each a script that says what that one says.

use crate::server::Server;
use crate::setup::containerd;
use crate::support::privilege::skip;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const DOCKERS: &str = "# Copyright\n\ndisabled_plugins = [\"cri\"]\n\n#root = \"/var/lib/containerd\"\n";
const LISTS: &str =
    "version = 2\n[plugins.\"io.containerd.service.v1.diff-service\"]\n  default = [\"mine\", \"walking\"]\n";

/// What it reads is what it dumps, unless there is a file `dump` to say; it refuses what has the word `poison` in it.
const CASES: &str = "*'config dump')\n[ -e \"$2\" ] || exit 1\n\
     if grep -q poison \"$2\"; then echo 'bad poison' >&2; exit 1; fi\n\
     here=${2%/*}\nif [ \"${2##*/}\" = config.toml ] && [ -e \"$here/dump\" ]; then cat \"$here/dump\"; else cat \"$2\"; fi ;;\n\
     'config default') echo 'version = 2' ;;";

struct Machine(TempDir);

impl Machine {
    fn of(version: &str, config: &str) -> Machine {
        let machine = Machine(tempfile::tempdir().expect("directory"));
        containerd(machine.0.path(), version, CASES);
        fs::write(machine.path("config.toml"), config).expect("configuration");
        machine
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    fn configure(&self, acts: &[&str]) -> Result<String, String> {
        self.configure_at("/run/s", acts)
    }

    /// What it says, or what it fails with.
    fn configure_at(&self, socket: &str, acts: &[&str]) -> Result<String, String> {
        let output = self.output_at(socket, acts);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // 3: it is written, and nobody answers at the socket.
        let written = matches!(output.status.code(), Some(0 | 3));
        if written { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn output_at(&self, socket: &str, acts: &[&str]) -> std::process::Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_untar-in-root-diffd"));
        program.args(["--socket", socket, "configure"]).args(acts);
        let places = ["containerd", "containerd-config", "drop-in", "docker-config"];
        for (option, name) in places.iter().zip(["program", "config.toml", "conf.d", "daemon.json"]) {
            program.arg(format!("--{option}")).arg(self.path(name));
        }
        program.output().expect("configure")
    }

    fn has_drop_in(&self) -> bool {
        Path::exists(&self.path("conf.d/untar-in-root.toml"))
    }
}

#[test]
fn dockers_stock_file_is_of_version_2_meanwhile_and_as_it_was_in_the_end() {
    let machine = Machine::of("1.7.24", DOCKERS);
    machine.configure(&["--write"]).expect("written");
    let text = machine.text("config.toml");
    assert!(text.contains("[\"io.containerd.grpc.v1.cri\"]") && text.contains("version = 2"), "{text}");
    machine.configure(&["--remove"]).expect("removed");
    assert_eq!(machine.text("config.toml"), DOCKERS);
}

#[test]
fn a_file_with_returns_at_the_ends_of_its_lines_keeps_them() {
    const CRLF: &str = "version = 2\r\n# crlf\r\n";
    let machine = Machine::of("1.7.24", CRLF);
    machine.configure(&["--write"]).expect("written");
    let text = machine.text("config.toml");
    assert!(text.lines().count() > 5 && text.matches("\r\n").count() == text.matches('\n').count(), "{text:?}");
    machine.configure(&["--remove"]).expect("removed");
    assert_eq!(machine.text("config.toml"), CRLF);
    let machine = Machine::of("1.7.24", "version = 2\r\n# mixed\n");
    assert!(machine.configure(&["--write"]).expect_err("refused").contains("CR LF"));
}

#[test]
fn what_is_wanting_before_a_pull_works_is_said_as_check_would() {
    let server = Server::start(&[]);
    let socket = server.path("diff.sock");
    let socket = socket.to_str().expect("path");
    let root = |path: &Path| format!("version = 2\nroot = \"{}\"\n", path.display());
    for (socket, root, code, words) in [
        ("/run/s", root(&server.path("containerd")), 3, "systemctl enable --now untar-in-root-diffd.socket"),
        (socket, root(Path::new("/elsewhere")), 3, "content-root = \"/elsewhere\" into /etc/untar-in-root/diffd.toml"),
        (socket, root(&server.path("containerd")), 0, "Restart containerd"),
    ] {
        let machine = Machine::of("1.7.24", &root);
        for _ in 0..2 {
            let output = machine.output_at(socket, &["--write"]);
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.code() == Some(code) && (code == 0 || said.contains(words)), "{words}: {output:?}");
            assert_eq!(said.contains("NO  "), code == 3, "{said}");
            assert!(said.to_lowercase().contains("restart containerd"), "{said}");
        }
        assert!(machine.text("config.toml").contains("untar-in-root"));
    }
}

/// Its differs are asked by a plug-in that is not there: no file of another is to blame.
#[test]
fn a_containerd_that_does_not_load_what_asks_differs_is_told() {
    for name in ["io.containerd.service.v1.diff-service", "io.containerd.transfer.v1.local"] {
        let before = format!("version = 2\ndisabled_plugins = [\"{name}\"]\n");
        let machine = Machine::of("1.7.24", &before);
        let refused = machine.configure(&["--write"]).expect_err("of no use");
        assert!(
            refused.contains(&format!("does not load {name}")) && refused.contains("disabled_plugins"),
            "{refused}"
        );
        assert!(refused.contains("Nothing was written") && machine.text("config.toml") == before, "{refused}");
    }
}

#[test]
fn a_containerd_that_cannot_be_asked_is_told_apart_from_one_that_says_no_version() {
    let machine = Machine::of("1.7.24", "version = 2\n");
    let refused = machine.configure(&["--write", "--containerd-version", "x"]).expect_err("no version");
    assert!(
        refused.contains("--containerd-version x: no version") && !refused.contains("says no version"),
        "{refused}"
    );
    fs::remove_file(machine.path("program")).expect("removed");
    let refused = machine.configure(&["--write"]).expect_err("not there");
    assert!(refused.contains("No such file") && !refused.contains("says no version"), "{refused}");
    containerd(machine.0.path(), "unknown", CASES);
    let refused = machine.configure(&["--write"]).expect_err("no version");
    assert!(refused.contains("says no version, but"), "{refused}");
    assert_eq!(machine.text("config.toml"), "version = 2\n");
}

#[test]
fn what_containerd_does_not_read_is_not_put_in_its_place() {
    for version in ["1.7.24", "2.1.9"] {
        let machine = Machine::of(version, "version = 2\n");
        let refused = machine.configure_at("/run/poison", &["--write"]).expect_err("refused");
        assert!(refused.contains("bad poison") && refused.contains("Nothing was written"), "{refused}");
        assert_eq!(machine.text("config.toml"), "version = 2\n");
        assert!(!machine.has_drop_in());
        let left: Vec<_> = fs::read_dir(machine.0.path()).expect("directory").flatten().collect();
        assert!(!left.iter().any(|entry| entry.file_name().to_string_lossy().starts_with('.')), "{left:?}");
    }
}

#[test]
fn a_configuration_that_is_broken_already_loses_ours_all_the_same() {
    let machine = Machine::of("1.7.24", "# poison\n[proxy_plugins.untar-in-root]\ntype = \"diff\"\n");
    assert!(machine.configure(&["--write"]).is_err());
    machine.configure(&["--remove"]).expect("removed");
    assert!(!machine.text("config.toml").contains("untar-in-root"));
}

#[test]
fn lists_of_the_main_file_are_added_to_where_they_stand() {
    let machine = Machine::of("2.1.9", LISTS);
    let said = machine.configure(&["--write"]).expect("written");
    assert!(said.contains("then restart containerd") && !machine.has_drop_in(), "{said}");
    let text = machine.text("config.toml");
    assert!(text.contains("[\"untar-in-root\",\"mine\", \"walking\"]"), "{text}");
    assert!(machine.configure(&["--write"]).expect("nothing").starts_with("Nothing to change.\n"));
    machine.configure(&["--remove"]).expect("removed");
    assert_eq!(machine.text("config.toml"), LISTS);
}

#[test]
fn where_another_file_has_the_last_word_all_is_put_back_and_told() {
    let machine = Machine::of("2.1.9", "version = 3\n");
    fs::write(machine.path("dump"), LISTS).expect("dump");
    fs::create_dir(machine.path("conf.d")).expect("directory");
    fs::write(machine.path("conf.d/zz.toml"), LISTS).expect("theirs");
    let refused = machine.configure(&["--write"]).expect_err("not first");
    assert!(refused.contains("conf.d/zz.toml has a `default`") && refused.contains("comes after"), "{refused}");
    assert_eq!(machine.text("config.toml"), "version = 3\n");
    assert!(!machine.has_drop_in());
}

#[test]
fn a_file_that_came_since_and_has_the_last_word_is_told() {
    let machine = Machine::of("2.1.9", LISTS);
    machine.configure(&["--write"]).expect("written");
    fs::write(machine.path("dump"), LISTS).expect("dump");
    assert!(machine.configure(&["--write"]).expect_err("not first").contains("comes after"));
}

#[test]
fn nothing_of_ours_is_no_change() {
    let mine = "# untar-in-root: not here\nversion = 2\n\n[proxy_plugins]\n\n\
                [plugins.\"io.containerd.service.v1.diff-service\"]\ndefault = [\"walking\"]\n";
    let machine = Machine::of("1.7.24", mine);
    assert_eq!(machine.configure(&["--remove"]).expect("nothing"), "Nothing to change.\n");
    assert_eq!(machine.text("config.toml"), mine);
}

#[test]
fn what_would_be_taken_out_is_shown() {
    let machine = Machine::of("1.7.24", "version = 2\n");
    machine.configure(&["--write"]).expect("written");
    let before = machine.text("config.toml");
    let said = machine.configure(&["--dry-run", "--remove"]).expect("shown");
    assert!(said.ends_with("config.toml\nversion = 2\n") && machine.text("config.toml") == before, "{said}");
    let machine = Machine::of("2.1.9", "version = 3\n");
    machine.configure(&["--write"]).expect_err("a script merges nothing");
    fs::create_dir_all(machine.path("conf.d")).expect("directory");
    fs::write(machine.path("conf.d/untar-in-root.toml"), "").expect("drop-in");
    let said = machine.configure(&["--dry-run", "--remove"]).expect("shown");
    assert!(said.contains("untar-in-root.toml is removed") && machine.has_drop_in(), "{said}");
    assert!(machine.configure(&["--write", "--remove"]).is_err());
}

#[test]
fn what_docker_shows_no_longer_is_told_both_ways() {
    let machine = Machine::of("1.7.24", "version = 2\n");
    let said = machine.configure(&["--write", "--for", "docker"]).expect("written");
    assert!(said.contains("store before are not shown") && said.contains("daemon.json"), "{said}");
    let said = machine.configure(&["--write", "--for", "docker"]).expect("nothing");
    assert!(said.starts_with("Nothing to change.\n") && !said.contains("not shown"), "{said}");
    let said = machine.configure(&["--remove", "--for", "docker"]).expect("removed");
    assert!(said.contains("containerd image store are not shown"), "{said}");
}

#[test]
fn what_cannot_be_changed_is_told_with_its_file() {
    for config in ["version = 2\nproxy_plugins = { mine = { type = \"diff\" } }\n", "imports = 1\n[", "= 1\n"] {
        let machine = Machine::of("1.7.24", config);
        let refused = machine.configure(&["--dry-run"]).expect_err("refused");
        assert!(refused.contains("config.toml: "), "{refused}");
    }
}

#[test]
fn when_one_of_the_files_cannot_be_written_none_is() {
    let machine = Machine::of("2.1.9", "version = 3\n");
    std::os::unix::fs::symlink("nowhere/at/all", machine.path("daemon.json")).expect("link");
    let refused = machine.configure(&["--write", "--for", "docker"]).expect_err("nowhere to write to");
    assert!(refused.contains("daemon.json: "), "{refused}");
    assert!(machine.text("config.toml") == "version = 3\n" && !machine.has_drop_in());
}

#[test]
fn a_file_that_is_rewritten_keeps_its_owner_mode_and_attributes() {
    let machine = Machine::of("1.7.24", "version = 2\n");
    let config = machine.path("config.toml");
    match setxattr(&config, c"user.mine", b"1", XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP) => {
            skip("no attributes of users in the temporary directory");
            return;
        }
        set => set.expect("attribute"),
    }
    if nix::unistd::geteuid().is_root() {
        chown(&config, Some(7), Some(8)).expect("owner");
    }
    fs::set_permissions(&config, fs::Permissions::from_mode(0o640)).expect("mode");
    let looks = || {
        let (now, mut value) = (fs::metadata(&config).expect("file"), [0; 8]);
        let size = getxattr(&config, c"user.mine", &mut value[..]).expect("attribute");
        (now.uid(), now.gid(), now.mode(), value[..size].to_vec())
    };
    let before = looks();
    for act in ["--write", "--remove"] {
        let inode = fs::metadata(&config).expect("file").ino();
        machine.configure(&[act]).expect("changed");
        assert_ne!(fs::metadata(&config).expect("file").ino(), inode, "another file is in its place");
        assert_eq!(looks(), before, "after {act}");
    }
}
