//! The tables of containerd's configuration that a differ needs, put in and taken out again. Pure: text to text, with
//! what else stands there, comments too, left as it was.

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value, value};

/// What the plug-in is called there.
pub(super) const NAME: &str = "untar-in-root";
const DIFF_SERVICE: &str = "io.containerd.service.v1.diff-service";
const TRANSFER: &str = "io.containerd.transfer.v1.local";
const NEXT: &str = "walking";
/// Where the CRI's snapshotter stands: on 2.x, on 1.7.
const CRI: [&[&str]; 2] = [
    &["plugins", "io.containerd.cri.v1.images", "snapshotter"],
    &["plugins", "io.containerd.grpc.v1.cri", "containerd", "snapshotter"],
];

/// What is put in.
pub(super) struct Wanted<'a> {
    pub(super) socket: &'a str,
    /// As `linux/amd64`.
    pub(super) platform: &'a str,
    /// The `version` of a file that has none yet.
    pub(super) version: i64,
}

/// Adds the differ.
///
/// # Errors
///
/// The text is not TOML, or something else stands where a table should be.
pub(super) fn put(text: &str, wanted: &Wanted<'_>) -> Result<String, String> {
    let mut document = parse(text)?;
    if !document.contains_key("version") {
        document.insert("version", value(wanted.version));
    }
    let plugin = table(document.as_table_mut(), &["proxy_plugins", NAME])?;
    plugin.insert("type", value("diff"));
    plugin.insert("address", value(wanted.socket));
    let service = table(document.as_table_mut(), &["plugins", DIFF_SERVICE])?;
    put_first(service)?;
    let transfer = table(document.as_table_mut(), &["plugins", TRANSFER])?;
    put_unpack(transfer, wanted.platform)?;
    Ok(document.to_string())
}

/// Takes it out again.
///
/// # Errors
///
/// The text is not TOML.
pub(super) fn take(text: &str) -> Result<String, String> {
    let mut document = parse(text)?;
    if let Some(plugins) = document.get_mut("proxy_plugins").and_then(Item::as_table_like_mut) {
        plugins.remove(NAME);
        if plugins.is_empty() {
            document.remove("proxy_plugins");
        }
    }
    if let Some(plugins) = document.get_mut("plugins").and_then(Item::as_table_mut) {
        drop_from(plugins, DIFF_SERVICE, take_first);
        drop_from(plugins, TRANSFER, take_unpack);
        if plugins.is_empty() {
            document.remove("plugins");
        }
    }
    Ok(document.to_string())
}

fn parse(text: &str) -> Result<DocumentMut, String> {
    text.parse().map_err(|e: toml_edit::TomlError| e.to_string().trim_end().to_owned())
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
        here = item.as_table_mut().ok_or_else(|| format!("{key:?} is no table"))?;
    }
    Ok(here)
}

/// First in the list, with the next differ behind it.
fn put_first(service: &mut Table) -> Result<(), String> {
    let list = service.entry("default").or_insert_with(|| value(Array::from_iter([NEXT])));
    let list = list.as_array_mut().ok_or("the list of differs is no array")?;
    if !list.iter().any(is_ours) {
        list.insert(0, NAME);
    }
    Ok(())
}

fn take_first(service: &mut Table) {
    if let Some(list) = service.get_mut("default").and_then(Item::as_array_mut) {
        list.retain(|name| !is_ours(name));
        if list.iter().all(|name| name.as_str() == Some(NEXT)) {
            service.remove("default");
        }
    }
}

fn is_ours(name: &Value) -> bool {
    name.as_str() == Some(NAME)
}

/// The list replaces the one that is built in, so what stands there is kept, and overlayfs is there.
fn put_unpack(transfer: &mut Table, platform: &str) -> Result<(), String> {
    let list = transfer.entry("unpack_config").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let list = list.as_array_of_tables_mut().ok_or("unpack_config is no array of tables")?;
    for entry in list.iter_mut().filter(|entry| ours_to_unpack(entry)) {
        entry.insert("differ", value(NAME));
    }
    if !list.iter().any(ours_to_unpack) {
        let mut entry = Table::new();
        entry.insert("platform", value(platform));
        entry.insert("snapshotter", value("overlayfs"));
        entry.insert("differ", value(NAME));
        list.push(entry);
    }
    Ok(())
}

fn ours_to_unpack(entry: &Table) -> bool {
    entry.get("snapshotter").and_then(Item::as_str) == Some("overlayfs")
}

fn take_unpack(transfer: &mut Table) {
    let Some(list) = transfer.get_mut("unpack_config").and_then(Item::as_array_of_tables_mut) else { return };
    for entry in list.iter_mut().filter(|entry| entry.get("differ").and_then(Item::as_str) == Some(NAME)) {
        entry.remove("differ");
    }
    // What is left says nothing that is not built in.
    let plain =
        |entry: &Table| ours_to_unpack(entry) && entry.iter().all(|(k, _)| k == "platform" || k == "snapshotter");
    if list.iter().all(plain) {
        transfer.remove("unpack_config");
    }
}

fn drop_from(plugins: &mut Table, name: &str, take: impl Fn(&mut Table)) {
    let Some(table) = plugins.get_mut(name).and_then(Item::as_table_mut) else { return };
    take(table);
    if table.is_empty() {
        plugins.remove(name);
    }
}

/// What a whole configuration (`containerd config dump`) says of differs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) version: Option<i64>,
    /// The CRI's; Docker, nerdctl and `ctr` choose theirs by themselves.
    pub(super) snapshotter: Option<String>,
    pub(super) socket: Option<String>,
    pub(super) by_service: bool,
    pub(super) by_transfer: bool,
    pub(super) root: Option<String>,
    pub(super) side_by_side: bool,
}

impl Said {
    /// # Errors
    ///
    /// The text is not TOML.
    pub(super) fn by(text: &str) -> Result<Said, String> {
        let document = parse(text)?;
        let at = |path: &[&str]| path.iter().try_fold(document.as_item(), |item, key| item.get(key));
        let listed = at(&["plugins", DIFF_SERVICE, "default"]).and_then(Item::as_array);
        let unpack = at(&["plugins", TRANSFER, "unpack_config"]);
        let snapshotter = CRI.iter().find_map(|path| at(path)?.as_str());
        Ok(Said {
            version: document.get("version").and_then(Item::as_integer),
            snapshotter: snapshotter.map(str::to_owned),
            socket: at(&["proxy_plugins", NAME, "address"]).and_then(Item::as_str).map(str::to_owned),
            by_service: listed.is_some_and(|list| list.iter().any(is_ours)),
            by_transfer: unpack.is_some_and(|entries| {
                entries.to_string().contains(&format!("\"{NAME}\""))
                    || entries.to_string().contains(&format!("'{NAME}'"))
            }),
            root: document.get("root").and_then(Item::as_str).map(str::to_owned),
            side_by_side: at(&["plugins", TRANSFER, "max_concurrent_unpacks"]).and_then(Item::as_integer) > Some(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted<'_> = Wanted { socket: "/run/untar-in-root/diff.sock", platform: "linux/amd64", version: 3 };

    #[test]
    fn an_empty_file_gets_all_that_a_differ_needs_and_is_empty_again() {
        let text = put("", &WANTED).expect("put");
        let said = Said::by(&text).expect("toml");
        assert_eq!(said.socket.as_deref(), Some(WANTED.socket));
        assert!(said.by_service && said.by_transfer, "{text}");
        assert!(text.contains("[[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]"), "{text}");
        assert_eq!(take(&text).expect("taken").trim(), "version = 3");
    }

    #[test]
    fn what_else_stands_there_stays_with_its_comments() {
        let before = "# mine\nversion = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"] # keep\n  sandbox_image = \"pause\"\n\n\
                      [plugins.\"io.containerd.service.v1.diff-service\"]\n  default = [\"walking\"]\n  sync_fs = true\n\n\
                      [proxy_plugins.stargz]\n  type = \"snapshot\"\n";
        let text = put(before, &WANTED).expect("put");
        for kept in ["# mine", "version = 2", "# keep", "sync_fs = true", "[proxy_plugins.stargz]"] {
            assert!(text.contains(kept), "{kept} is not in {text}");
        }
        assert!(
            text.contains("[\"untar-in-root\",\"walking\"]") || text.contains("[\"untar-in-root\", \"walking\"]"),
            "{text}"
        );
        let after = take(&text).expect("taken");
        for kept in ["# mine", "version = 2", "# keep", "sync_fs = true", "[proxy_plugins.stargz]"] {
            assert!(after.contains(kept), "{kept} is not in {after}");
        }
        assert!(!after.contains(NAME), "{after}");
    }

    #[test]
    fn entries_of_other_snapshotters_are_kept_as_they_are() {
        let before = "[[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]\nplatform = \"linux/amd64\"\n\
                      snapshotter = \"erofs\"\ndiffer = \"erofs\"\n";
        let text = put(before, &WANTED).expect("put");
        assert_eq!(text.matches("unpack_config]]").count(), 2, "{text}");
        assert!(take(&text).expect("taken").contains("differ = \"erofs\""));
    }

    #[test]
    fn twice_is_as_once() {
        let once = put("", &WANTED).expect("put");
        assert_eq!(put(&once, &WANTED).expect("put"), once);
    }

    #[test]
    fn what_is_no_configuration_is_told() {
        assert!(put("= 1", &WANTED).is_err());
        assert!(put("proxy_plugins = 3", &WANTED).expect_err("no table").contains("proxy_plugins"));
        assert!(put("[plugins]\n\"io.containerd.service.v1.diff-service\" = 1", &WANTED).is_err());
    }
}
