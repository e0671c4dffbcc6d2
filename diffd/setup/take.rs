//! Takes the differ out of containerd's configuration again. Pure: text to text; what is not ours stays.

use super::ends::as_in;
use super::marks::{Mark, mark};
use super::tables::{DIFF_SERVICE, LONG, NAME, NAMED, SHORT, TRANSFER, is_ours, parse, put_name};
use toml_edit::{Array, DocumentMut, Item, Table};

/// `None` if nothing of ours is there.
///
/// # Errors
///
/// The text is not TOML, or has ends of lines of two kinds.
pub(super) fn take(text: &str) -> Result<Option<String>, String> {
    let mut document = parse(text)?;
    let plugin = take_plugin(&mut document);
    let plugins = document.get_mut("plugins").and_then(Item::as_table_mut);
    let lists = plugins.is_some_and(|plugins| {
        let service = take_from(plugins, DIFF_SERVICE, take_first);
        take_from(plugins, TRANSFER, take_unpack) || service
    });
    drop_if_bare(&mut document, "plugins");
    let version = take_version(&mut document);
    (plugin || lists || version).then(|| as_in(text, &document.to_string())).transpose()
}

fn take_plugin(document: &mut DocumentMut) -> bool {
    let plugins = document.get_mut("proxy_plugins").and_then(Item::as_table_like_mut);
    let taken = plugins.and_then(|plugins| plugins.remove(NAME)).is_some();
    drop_if_bare(document, "proxy_plugins");
    taken
}

/// A table without a heading is not there when nothing is in it.
fn drop_if_bare(document: &mut DocumentMut, key: &str) {
    let table = document.get(key).and_then(Item::as_table);
    if table.is_some_and(|table| table.is_empty() && table.is_implicit()) {
        document.remove(key);
    }
}

/// Whether anything was taken; a table that is empty thereby goes too, unless somebody has written something above it.
fn take_from(plugins: &mut Table, name: &str, take: impl Fn(&mut Table) -> bool) -> bool {
    let Some(table) = plugins.get_mut(name).and_then(Item::as_table_mut) else { return false };
    let taken = take(table);
    let above = table.decor().prefix().and_then(|raw| raw.as_str()).unwrap_or_default();
    if taken && table.is_empty() && !above.contains('#') {
        plugins.remove(name);
    }
    taken
}

fn take_first(service: &mut Table) -> bool {
    let Some(value) = service.get_mut("default").and_then(Item::as_value_mut) else { return false };
    let made = mark(value).is_some();
    let Some(list) = value.as_array_mut() else { return false };
    let before = list.len();
    list.retain(|name| name.as_str() != Some(NAME));
    let taken = list.len() < before;
    if taken && (list.is_empty() || made && list.len() == 1) {
        service.remove("default");
    }
    taken
}

fn take_unpack(transfer: &mut Table) -> bool {
    let Some(list) = transfer.get_mut("unpack_config").and_then(Item::as_array_of_tables_mut) else { return false };
    let taken = list.iter().any(is_ours);
    list.retain(|entry| !is_ours(entry) || mark_of(entry) != Some(Mark::Entry));
    for entry in list.iter_mut().filter(|entry| is_ours(entry)) {
        take_differ(entry);
    }
    if taken && list.is_empty() {
        transfer.remove("unpack_config");
    }
    taken
}

fn mark_of(entry: &Table) -> Option<Mark> {
    Some(mark(entry.get("differ")?.as_value()?)?.0)
}

/// What it was before.
fn take_differ(entry: &mut Table) {
    let Some(value) = entry.get_mut("differ").and_then(Item::as_value_mut) else { return };
    let (text, comment) = match mark(value) {
        Some((Mark::Walking, comment)) => ("walking", comment.to_owned()),
        Some((Mark::Empty, comment)) => ("", comment.to_owned()),
        _ => {
            entry.remove("differ");
            return;
        }
    };
    put_name(value, text);
    value.decor_mut().set_suffix(comment);
}

/// Unless tables have come since, which it is the version of.
fn take_version(document: &mut DocumentMut) -> bool {
    let found = document.get("version").and_then(Item::as_value).and_then(mark).map(|(mark, _)| mark);
    let Some(found) = found.filter(|_| !document.contains_key("plugins")) else { return false };
    document.remove("version");
    if found == Mark::Short {
        for list in NAMED {
            let names = document.get_mut(list).and_then(Item::as_array_mut);
            let long = names.into_iter().flat_map(Array::iter_mut).filter(|name| name.as_str() == Some(LONG));
            long.for_each(|name| put_name(name, SHORT));
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::tables::{Wanted, platform, put};

    const WANTED: Wanted<'_> = Wanted { socket: "/run/s", version: 2 };
    const UNPACK: &str = "[[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]";

    #[test]
    fn what_was_put_in_is_taken_out_to_the_byte() {
        let entries = format!(
            "version = 2\n# mine\n{UNPACK}\nplatform = \"{0}\"\nsnapshotter = \"overlayfs\"\n  differ =  \"walking\" # why\n\n\
             {UNPACK}\nplatform = \"{0}\" # here\nsnapshotter = \"native\"\n",
            platform()
        );
        let plain = format!("version = 2\n{UNPACK}\nsnapshotter = \"overlayfs\"\n");
        for before in [
            "",
            "# Copyright\n\ndisabled_plugins = [\"cri\"]\n\n#root = \"/var/lib/containerd\"\n",
            "disabled_plugins = [\n  \"cri\", # not ours\n]\n",
            "version = 2\n",
            "version = 2\n\n[proxy_plugins]\n",
            "version = 2\n\n[plugins.\"io.containerd.service.v1.diff-service\"] # mine\n  default = [\"walking\"] # sic\n",
            "version = 2\n[plugins]\n  [plugins.\"io.containerd.service.v1.diff-service\"]\n    sync_fs = true\n",
            &entries,
            &plain,
            "version = 2\r\n# crlf\r\n",
        ] {
            let text = put(before, &WANTED).expect("put");
            assert_ne!(text, before);
            assert_eq!(take(&text).expect("taken").expect("a change"), before, "{text}");
        }
    }

    #[test]
    fn where_nothing_is_ours_nothing_is_taken() {
        for text in [
            "# untar-in-root is not used here\n[proxy_plugins]\n",
            "version = 2\n[plugins.\"io.containerd.service.v1.diff-service\"]\ndefault = [\"walking\"]\n",
            &format!("version = 2\n{UNPACK}\nplatform = \"linux/arm64\"\nsnapshotter = \"overlayfs\"\n"),
            "version = 2\n[plugins]\n",
        ] {
            assert_eq!(take(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn by_hand_it_is_taken_by_its_name_and_the_operators_stay() {
        let before = format!(
            "version = 2\n[proxy_plugins.untar-in-root]\ntype = \"diff\"\n\
             [plugins.\"io.containerd.service.v1.diff-service\"]\ndefault = [\"erofs\", \"untar-in-root\", \"walking\"]\n\
             {UNPACK}\nplatform = \"linux/arm64\"\nsnapshotter = \"overlayfs\"\ndiffer = \"untar-in-root\"\n"
        );
        let after = take(&before).expect("taken").expect("a change");
        assert!(!after.contains(NAME) && after.contains("linux/arm64"), "{after}");
        assert!(after.contains("[\"erofs\", \"walking\"]"), "{after}");
    }

    #[test]
    fn the_version_stays_when_there_are_tables_of_it() {
        let text = put("", &WANTED).expect("put") + "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"p\"\n";
        let after = take(&text).expect("taken").expect("a change");
        assert!(after.starts_with("version = 2") && after.contains("sandbox_image"), "{after}");
    }
}
