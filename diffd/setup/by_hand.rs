//! What goes into files that are another's: K3s, RKE2, kind.

use super::tables::{self, Wanted};
use super::version::Version;
use crate::args::{Configure, Whose};

/// What goes into a file that is another's, and where that one's content root is.
pub(super) fn by_hand(asked: &Configure, socket: &str) -> Result<String, String> {
    let tables = tables::put("", &Wanted { socket, version: 3 })?;
    let mut document = tables::parse(&tables)?;
    document.as_table_mut().remove("version");
    let tables = document.to_string();
    Ok(match asked.whose {
        Whose::K3s => template("k3s", is_of_one(asked), &tables),
        Whose::Rke2 => template("rke2", is_of_one(asked), &tables),
        _ => {
            let indent = |line: &str| if line.is_empty() { "\n".into() } else { format!("  {line}\n") };
            let indented: String = tables.trim_start().lines().map(indent).collect();
            format!("containerdConfigPatches:\n- |-\n{indented}")
        }
    })
}

/// Whether it is for a distribution that is still on containerd 1.7; they bring their own, which is not asked.
fn is_of_one(asked: &Configure) -> bool {
    let version = asked.containerd_version.as_deref().and_then(Version::parse);
    version.is_some_and(|version| !version.merges_imports())
}

fn template(name: &str, of_one: bool, tables: &str) -> String {
    let (root, file) =
        (format!("/var/lib/rancher/{name}/agent"), if of_one { "config.toml.tmpl" } else { "config-v3.toml.tmpl" });
    // Both are k3s's.
    let address = "/run/k3s/containerd/containerd.sock";
    format!(
        "# {root}/etc/containerd/{file}; and in {}:\n#   content-root = \"{root}/containerd\"\n\
         #   containerd-address = \"{address}\"\n{{{{ template \"base\" . }}}}\n{tables}",
        crate::config::FILE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_others_are_printed() {
        let text = |whose: &str, more: &[&str]| {
            let words = ["configure", "--dry-run", "--for", whose].into_iter().chain(more.iter().copied());
            by_hand(&Configure::of(words), "/run/s").expect("text")
        };
        let k3s = text("k3s", &[]);
        assert!(k3s.contains("\n{{ template \"base\" . }}\n") && k3s.contains("k3s/agent/containerd\""), "{k3s}");
        assert!(k3s.contains("containerd-address = \"/run/k3s/containerd/containerd.sock\""), "{k3s}");
        assert!(k3s.lines().next().is_some_and(|line| line.contains("/config-v3.toml.tmpl")), "{k3s}");
        let old = text("rke2", &["--containerd-version", "1.7.24"]);
        assert!(old.starts_with("# /var/lib/rancher/rke2/agent/etc/containerd/config.toml.tmpl"), "{old}");
        let patch = text("kind", &[]);
        assert!(
            patch.starts_with("containerdConfigPatches:\n- |-\n  [proxy_plugins.") && !patch.contains("version ="),
            "{patch}"
        );
        assert!(patch.lines().all(|line| line.trim_end() == line), "{patch}");
    }
}
