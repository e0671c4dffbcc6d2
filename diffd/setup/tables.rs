//! The tables of containerd's configuration that a differ needs, put in. Pure: text to text, with what else stands
//! there, comments too, left as it was.

use super::ends::as_in;
use super::marks::{Mark, marked};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value};

/// What the plug-in is called there.
pub(super) const NAME: &str = "untar-in-root";
pub(super) const DIFF_SERVICE: &str = "io.containerd.service.v1.diff-service";
pub(super) const TRANSFER: &str = "io.containerd.transfer.v1.local";
/// Lists of plug-ins by name, and the one name in them that is stock: that of Docker's own packages.
pub(super) const NAMED: [&str; 2] = ["disabled_plugins", "required_plugins"];
pub(super) const SHORT: &str = "cri";
pub(super) const LONG: &str = "io.containerd.grpc.v1.cri";
const NEXT: &str = "walking";

/// What is put in.
pub(super) struct Wanted<'a> {
    pub(super) socket: &'a str,
    /// The `version` of a file that has none yet.
    pub(super) version: i64,
}

/// This machine's, as containerd writes it.
pub(super) fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "linux/arm64",
        "riscv64" => "linux/riscv64",
        _ => "linux/amd64",
    }
}

/// Adds the differ.
///
/// # Errors
///
/// The text is not TOML or of version 1, something else stands where a table should be, or another differ was chosen.
pub(super) fn put(text: &str, wanted: &Wanted<'_>) -> Result<String, String> {
    let mut document = parse(text)?;
    put_version(&mut document, wanted.version)?;
    let plugin = table(document.as_table_mut(), &["proxy_plugins", NAME])?;
    put_value(plugin, "type", "diff");
    put_value(plugin, "address", wanted.socket);
    put_first(table(document.as_table_mut(), &["plugins", DIFF_SERVICE])?)?;
    put_unpack(table(document.as_table_mut(), &["plugins", TRANSFER])?)?;
    as_in(text, &document.to_string())
}

/// Whether it has a list of differs of its own, which one in an imported file would replace.
///
/// # Errors
///
/// The text is not TOML.
pub(super) fn lists_differs(text: &str) -> Result<bool, String> {
    let document = parse(text)?;
    let has = |plugin, key| document.get("plugins").and_then(|all| all.get(plugin)?.get(key)).is_some();
    Ok(has(DIFF_SERVICE, "default") || has(TRANSFER, "unpack_config"))
}

pub(super) fn parse(text: &str) -> Result<DocumentMut, String> {
    text.parse().map_err(|e: toml_edit::TomlError| e.to_string().trim_end().to_owned())
}

/// Without `version`, containerd reads it as version 1, in which plug-ins have short names.
fn put_version(document: &mut DocumentMut, version: i64) -> Result<(), String> {
    let said = document.get("version").and_then(Item::as_integer);
    if said.is_some_and(|said| said > 1) {
        return Ok(());
    }
    let plugins = document.get("plugins").and_then(Item::as_table_like);
    if said.is_some() || plugins.is_some_and(|plugins| !plugins.is_empty()) {
        return Err(of_version_one());
    }
    let mut mark = Mark::Here;
    for list in NAMED {
        if lengthen(document.get_mut(list).and_then(Item::as_array_mut))? {
            mark = Mark::Short;
        }
    }
    document.insert("version", Item::Value(marked(version, mark, None)));
    Ok(())
}

fn of_version_one() -> String {
    "no `version` above 1, so containerd reads it as version 1, in which these tables mean nothing: write it as \
     version 2 first, with the whole names of plug-ins (\"io.containerd.grpc.v1.cri\" for \"cri\")"
        .into()
}

/// Whether there were short names.
fn lengthen(names: Option<&mut Array>) -> Result<bool, String> {
    let mut any = false;
    for name in names.into_iter().flat_map(Array::iter_mut) {
        match name.as_str() {
            Some(SHORT) => {
                put_name(name, LONG);
                any = true;
            }
            Some(text) if text.starts_with("io.containerd.") => {}
            _ => return Err(of_version_one()),
        }
    }
    Ok(any)
}

/// In place, with the spaces and comments around it.
pub(super) fn put_name(place: &mut Value, name: &str) {
    let decor = place.decor().clone();
    *place = name.into();
    *place.decor_mut() = decor;
}

/// Only where it is another, so that comments stay.
fn put_value(table: &mut Table, key: &str, text: &str) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(value) if value.as_str() == Some(text) => {}
        Some(value) => put_name(value, text),
        None => _ = table.insert(key, toml_edit::value(text)),
    }
}

/// A table below others, made where it is missing.
fn table<'a>(mut here: &'a mut Table, path: &[&str]) -> Result<&'a mut Table, String> {
    for (depth, key) in path.iter().enumerate() {
        let item = here.entry(key).or_insert_with(|| {
            let mut table = Table::new();
            // Only the innermost has a heading.
            table.set_implicit(depth + 1 < path.len());
            Item::Table(table)
        });
        let heading =
            path[..=depth].iter().map(|key| if key.contains('.') { format!("{key:?}") } else { (*key).into() });
        let heading: Vec<String> = heading.collect();
        here = item.as_table_mut().ok_or_else(|| {
            format!("{key:?} is no table with a heading of its own: write it below [{}] first", heading.join("."))
        })?;
    }
    Ok(here)
}

/// First in the list, with the next differ behind it.
fn put_first(service: &mut Table) -> Result<(), String> {
    let made = || Item::Value(marked(Array::from_iter([NEXT]), Mark::Here, None));
    let list = service.entry("default").or_insert_with(made);
    let list = list.as_array_mut().ok_or("the list of differs is no array")?;
    if list.get(0).and_then(Value::as_str) != Some(NAME) {
        list.retain(|name| name.as_str() != Some(NAME));
        list.insert(0, NAME);
    }
    Ok(())
}

/// The list replaces the one that is built in, so what stands there is kept, and overlayfs is there.
fn put_unpack(transfer: &mut Table) -> Result<(), String> {
    let list = transfer.entry("unpack_config").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let list = list.as_array_of_tables_mut().ok_or(
        "unpack_config is no array of tables, each with its heading: write each entry below \
                [[plugins.\"io.containerd.transfer.v1.local\".unpack_config]] first",
    )?;
    for entry in list.iter_mut().filter(|entry| for_us(entry) && !is_ours(entry)) {
        put_differ(entry);
    }
    let first = list.iter().find(|entry| of_this_platform(entry)).map(is_ours);
    match first {
        Some(true) => {}
        Some(false) => return Err("unpack_config has another differ for overlayfs: change that entry first".into()),
        None => list.push(entry()),
    }
    Ok(())
}

fn put_differ(entry: &mut Table) {
    let Some(old) = entry.get_mut("differ").and_then(Item::as_value_mut) else {
        entry.insert("differ", Item::Value(marked(NAME, Mark::Here, None)));
        return;
    };
    let mark = if old.as_str() == Some(NEXT) { Mark::Walking } else { Mark::Empty };
    *old = marked(NAME, mark, Some(old));
}

fn entry() -> Table {
    let mut entry = Table::new();
    entry.insert("platform", toml_edit::value(platform()));
    entry.insert("snapshotter", toml_edit::value("overlayfs"));
    entry.insert("differ", Item::Value(marked(NAME, Mark::Entry, None)));
    entry
}

/// Whether containerd takes it for this machine's layers on overlayfs.
pub(super) fn of_this_platform(entry: &Table) -> bool {
    let platform_of = entry.get("platform").and_then(Item::as_str).unwrap_or_default();
    // containerd writes the variant or not.
    let plain = if platform() == "linux/arm64" { platform_of.trim_end_matches("/v8") } else { platform_of };
    (plain.is_empty() || plain == platform()) && entry.get("snapshotter").and_then(Item::as_str) == Some("overlayfs")
}

/// Whether it may be ours: nobody has chosen another differ for it.
pub(super) fn for_us(entry: &Table) -> bool {
    let differ = entry.get("differ").and_then(Item::as_str).unwrap_or_default();
    of_this_platform(entry) && ["", NEXT, NAME].contains(&differ)
}

pub(super) fn is_ours(entry: &Table) -> bool {
    entry.get("differ").and_then(Item::as_str) == Some(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::said::Said;

    const WANTED: Wanted<'_> = Wanted { socket: "/run/untar-in-root/diff.sock", version: 2 };
    const UNPACK: &str = "[[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]";

    fn put_on(text: &str) -> String {
        put(text, &WANTED).expect("put")
    }

    #[test]
    fn an_empty_file_gets_all_that_a_differ_needs() {
        let text = put_on("");
        let said = Said::by(&text).expect("toml");
        assert_eq!((said.socket.as_deref(), said.version), (Some(WANTED.socket), Some(2)));
        assert!(said.by_service && said.by_transfer && text.contains(UNPACK), "{text}");
        assert_eq!(put_on(&text), text, "twice is as once");
    }

    #[test]
    fn what_else_stands_there_stays_with_its_comments() {
        let before = "# mine\nversion = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"] # keep\n  sandbox_image = \"pause\"\n\n\
                      [plugins.\"io.containerd.service.v1.diff-service\"]\n  default = [\"walking\"]\n  sync_fs = true\n\n\
                      [proxy_plugins.stargz]\n  type = \"snapshot\"\n";
        let text = put_on(before);
        for kept in ["# mine", "version = 2", "# keep", "sync_fs = true", "[proxy_plugins.stargz]"] {
            assert!(text.contains(kept), "{kept} is not in {text}");
        }
        assert!(Said::by(&text).expect("toml").by_service, "{text}");
    }

    #[test]
    fn one_without_a_version_gets_it_only_where_it_means_the_same_with_it() {
        let text = put_on("disabled_plugins = [\"cri\"]\nrequired_plugins = [\"io.containerd.x.v1.y\"]\n");
        assert!(text.contains("disabled_plugins = [\"io.containerd.grpc.v1.cri\"]"), "{text}");
        assert_eq!(Said::by(&text).expect("toml").version, Some(2));
        for text in ["disabled_plugins = [\"aufs\"]", "[plugins.cri]\nsandbox_image = \"p\"", "version = 1"] {
            assert!(put(text, &WANTED).expect_err("version 1").contains("whole names"), "{text}");
        }
    }

    #[test]
    fn ours_behind_another_comes_to_the_front() {
        let before = "version = 2\n[plugins.\"io.containerd.service.v1.diff-service\"]\n\
                      default = [\"walking\", \"untar-in-root\"]\n";
        let text = put_on(before);
        assert!(
            Said::by(&text).expect("toml").by_service && text.matches(&format!("\"{NAME}\"")).count() == 2,
            "{text}"
        );
    }

    #[test]
    fn only_entries_of_this_platform_that_nobody_chose_a_differ_for_are_taken() {
        let entry = |platform: &str, snapshotter: &str, differ: &str| {
            format!("{UNPACK}\nplatform = \"{platform}\"\nsnapshotter = \"{snapshotter}\"\ndiffer = \"{differ}\"\n")
        };
        let others = ["linux/s390x", "windows/amd64"].map(|name| entry(name, "overlayfs", "walking")).concat()
            + &entry(platform(), "erofs", "erofs");
        let text = put_on(&("version = 2\n".to_owned() + &others + &entry(platform(), "overlayfs", "walking")));
        assert!(text.contains(&others) && text.matches(UNPACK).count() == 4, "{text}");
        assert!(Said::by(&text).expect("toml").by_transfer, "{text}");
        let text = put_on(&("version = 2\n".to_owned() + &others));
        assert!(text.contains(&others) && text.matches(UNPACK).count() == 4, "{text}");
        let chosen = "version = 2\n".to_owned() + &entry(platform(), "overlayfs", "erofs");
        assert!(put(&chosen, &WANTED).expect_err("chosen").contains("another differ"));
    }

    #[test]
    fn what_is_no_configuration_is_told() {
        assert!(put("= 1", &WANTED).is_err());
        assert!(put("proxy_plugins = 3", &WANTED).expect_err("no table").contains("proxy_plugins"));
        assert!(put("version = 2\n[plugins]\n\"io.containerd.service.v1.diff-service\" = 1", &WANTED).is_err());
    }
}
