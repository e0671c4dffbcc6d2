//! What a whole configuration (`containerd config dump`) says of differs. Pure.

use super::tables::{DIFF_SERVICE, NAME, TRANSFER, for_us, is_ours, of_this_platform, parse};
use toml_edit::{DocumentMut, Item, Table};

/// Where the CRI's snapshotter stands: on 2.x, on 1.7.
const CRI: [&[&str]; 2] = [
    &["plugins", "io.containerd.cri.v1.images", "snapshotter"],
    &["plugins", "io.containerd.grpc.v1.cri", "containerd", "snapshotter"],
];

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) version: Option<i64>,
    /// The CRI's; Docker, nerdctl and `ctr` choose theirs by themselves.
    pub(super) snapshotter: Option<String>,
    pub(super) socket: Option<String>,
    /// Ours is asked first.
    pub(super) by_service: bool,
    pub(super) by_transfer: bool,
    pub(super) root: Option<String>,
    /// containerd's own socket.
    pub(super) address: Option<String>,
    pub(super) side_by_side: bool,
    /// Plug-ins that are not to be loaded.
    disabled: Vec<String>,
    /// What is in the two lists of differs, ours left out.
    listed: Vec<String>,
}

impl Said {
    /// # Errors
    ///
    /// The text is not TOML.
    pub(super) fn by(text: &str) -> Result<Said, String> {
        let document = parse(text)?;
        let (services, unpacks) = (services(&document), unpacks(&document));
        Ok(Said {
            version: document.get("version").and_then(Item::as_integer),
            snapshotter: CRI.iter().find_map(|path| text_at(&document, path)),
            socket: text_at(&document, &["proxy_plugins", NAME, "address"]),
            by_service: services.first().is_some_and(|name| name == NAME),
            by_transfer: unpacks.iter().find(|entry| of_this_platform(entry)).is_some_and(is_ours),
            root: text_at(&document, &["root"]),
            address: text_at(&document, &["grpc", "address"]),
            side_by_side: at(&document, &["plugins", TRANSFER, "max_concurrent_unpacks"]).and_then(Item::as_integer)
                > Some(1),
            disabled: texts(at(&document, &["disabled_plugins"])),
            listed: listed(services, &unpacks),
        })
    }

    /// What asks differs and is not loaded.
    pub(super) fn unloaded(&self) -> Option<&'static str> {
        [DIFF_SERVICE, TRANSFER].into_iter().find(|name| self.disabled.iter().any(|disabled| disabled == name))
    }

    /// What an earlier one had in its lists of differs, and this has not.
    pub(super) fn lost(&self, earlier: &Said) -> Option<String> {
        earlier.listed.iter().find(|entry| !self.listed.contains(entry)).cloned()
    }
}

fn at<'a>(document: &'a DocumentMut, path: &[&str]) -> Option<&'a Item> {
    path.iter().try_fold(document.as_item(), |item, key| item.get(key))
}

fn text_at(document: &DocumentMut, path: &[&str]) -> Option<String> {
    at(document, path)?.as_str().map(str::to_owned)
}

fn services(document: &DocumentMut) -> Vec<String> {
    texts(at(document, &["plugins", DIFF_SERVICE, "default"]))
}

fn texts(list: Option<&Item>) -> Vec<String> {
    let list = list.and_then(Item::as_array);
    list.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Its entries, inline ones too.
fn unpacks(document: &DocumentMut) -> Vec<Table> {
    let list = at(document, &["plugins", TRANSFER, "unpack_config"]).cloned();
    list.and_then(|list| list.into_array_of_tables().ok()).into_iter().flatten().collect()
}

fn listed(services: Vec<String>, unpacks: &[Table]) -> Vec<String> {
    let text = |entry: &Table, key: &str| entry.get(key).and_then(Item::as_str).unwrap_or_default().to_owned();
    let unpacks = unpacks.iter().map(|entry| {
        let differ = if for_us(entry) { NAME.to_owned() } else { text(entry, "differ") };
        format!("{} {} {differ}", text(entry, "platform"), text(entry, "snapshotter"))
    });
    services.into_iter().filter(|name| name != NAME).chain(unpacks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::tables::platform;

    fn lists(services: &str, unpack: &str) -> Said {
        let unpack = unpack.replace("HERE", platform());
        let text = format!(
            "[plugins.'{DIFF_SERVICE}']\ndefault = {services}\n[plugins.'{TRANSFER}']\nunpack_config = {unpack}"
        );
        Said::by(&text).expect("toml")
    }

    #[test]
    fn only_the_first_that_is_asked_is_on() {
        let ours = "[{platform = 'HERE', snapshotter = 'overlayfs', differ = 'untar-in-root'}]";
        let on = lists("['untar-in-root', 'walking']", ours);
        assert!(on.by_service && on.by_transfer, "{on:?}");
        let behind = "[{platform = 'HERE', snapshotter = 'overlayfs', differ = 'walking'}, \
                       {platform = 'HERE', snapshotter = 'overlayfs', differ = 'untar-in-root'}]";
        let off = lists("['walking', 'untar-in-root']", behind);
        assert!(!off.by_service && !off.by_transfer, "{off:?}");
        let other = "[{platform = 'linux/s390x', snapshotter = 'overlayfs', differ = 'untar-in-root'}]";
        assert!(!lists("[]", other).by_transfer);
    }

    #[test]
    fn what_is_not_loaded_is_told() {
        let disabled = |names: &str| Said::by(&format!("disabled_plugins = {names}")).expect("toml").unloaded();
        assert_eq!(disabled(&format!("['cri', '{DIFF_SERVICE}']")), Some(DIFF_SERVICE));
        assert_eq!(disabled(&format!("['{TRANSFER}']")), Some(TRANSFER));
        assert_eq!(disabled("['cri', 'io.containerd.grpc.v1.cri']"), None);
    }

    #[test]
    fn what_is_no_longer_listed_is_told() {
        let native = "{platform = 'HERE', snapshotter = 'native'}";
        let (plain, ours) = (
            "{platform = 'HERE', snapshotter = 'overlayfs'}",
            "{platform = 'HERE', snapshotter = 'overlayfs', differ = 'untar-in-root'}",
        );
        let earlier = lists("['erofs', 'walking']", &format!("[{plain}, {native}]"));
        let kept = lists("['untar-in-root', 'erofs', 'walking']", &format!("[{ours}, {native}]"));
        assert_eq!(kept.lost(&earlier), None);
        assert_eq!(lists("['untar-in-root', 'walking']", "[]").lost(&earlier).as_deref(), Some("erofs"));
        let lost = lists("['untar-in-root', 'erofs', 'walking']", &format!("[{ours}]")).lost(&earlier);
        assert!(lost.is_some_and(|lost| lost.contains("native")));
    }
}
