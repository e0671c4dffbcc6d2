//! Docker's `daemon.json`: the containerd image store, without which dockerd unpacks layers by itself. Pure: text to
//! text, with what else stands there left as it was.

use jsonc_parser::cst::{CstNode, CstObject, CstObjectProp, CstRootNode};
use jsonc_parser::{ParseOptions, json};
use serde::de::IgnoredAny;

const FEATURES: &str = "features";
const STORE: &str = "containerd-snapshotter";

const REMAP: &str = "userns-remap";

/// Whether dockerd maps ids, with which it leaves the store off, and says nothing of it.
pub(super) fn remaps(text: &str) -> bool {
    let root = parse(text).ok();
    root.and_then(|root| top(&root).ok()).is_some_and(|top| is_remapped(&top))
}

fn is_remapped(top: &CstObject) -> bool {
    let users = top.get(REMAP).and_then(|users| users.value());
    users
        .as_ref()
        .and_then(CstNode::as_string_lit)
        .is_some_and(|users| !users.decoded_value().is_ok_and(|users| users.is_empty()))
}

/// Switches the store on; `None` if it is.
///
/// # Errors
///
/// The text is no JSON, something else stands where an object should be, or dockerd would leave the store off.
pub(super) fn put(text: &str) -> Result<Option<String>, String> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    let root = parse(text)?;
    if is_remapped(&top(&root)?) {
        return Err(format!(
            "with {REMAP:?} dockerd leaves the containerd image store off, and no layer comes here. Nothing was written"
        ));
    }
    let features = match top(&root)?.get(FEATURES) {
        None => top(&root)?.append(FEATURES, json!({})),
        Some(features) => features,
    };
    let features = object(&features)?;
    match features.get(STORE) {
        Some(store) if is_on(&store) => return Ok(None),
        Some(store) => store.set_value(json!(true)),
        None => _ = features.append(STORE, json!(true)),
    }
    Ok(Some(root.to_string()))
}

/// Takes the switch out again, whoever has put it there; `None` if it is not on.
///
/// # Errors
///
/// As for [`put`].
pub(super) fn take(text: &str) -> Result<Option<String>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let root = parse(text)?;
    let Some(held) = top(&root)?.get(FEATURES) else { return Ok(None) };
    let features = object(&held)?;
    let Some(store) = features.get(STORE).filter(is_on) else { return Ok(None) };
    store.remove();
    if features.properties().is_empty() {
        held.remove();
    }
    Ok(Some(root.to_string()))
}

/// Comments and the like, with which dockerd does not start, are not let through.
fn parse(text: &str) -> Result<CstRootNode, String> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|e| e.to_string())?;
    CstRootNode::parse(text, &ParseOptions::default()).map_err(|e| e.to_string())
}

fn top(root: &CstRootNode) -> Result<CstObject, String> {
    root.object_value().ok_or_else(|| "it is no object".into())
}

fn object(of: &CstObjectProp) -> Result<CstObject, String> {
    of.object_value().ok_or_else(|| format!("{FEATURES:?} is no object"))
}

fn is_on(store: &CstObjectProp) -> bool {
    store.value().as_ref().and_then(CstNode::as_boolean_lit).is_some_and(|on| on.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: &str =
        "{\n    \"log-driver\": \"journald\",\n    \"bip\": \"10.0.0.1/24\",\n    \"ulimits\": {\"n\": 1.50}\n}\n";

    #[test]
    fn an_empty_file_gets_the_switch_and_is_an_empty_object_again() {
        for before in ["", "\n", "{}", "{ }\n"] {
            let text = put(before).expect("put").expect("a change");
            let plain: String = text.split_whitespace().collect();
            assert_eq!(plain, "{\"features\":{\"containerd-snapshotter\":true}}", "{before:?}");
            let after: String = take(&text).expect("taken").expect("a change").split_whitespace().collect();
            assert_eq!(after, "{}", "{before:?}");
        }
    }

    #[test]
    fn what_else_stands_there_stays_as_it_is_and_in_its_order() {
        let text = put(MINE).expect("put").expect("a change");
        assert!(text.starts_with(MINE.trim_end_matches("\n}\n")), "{text}");
        assert!(text.contains("    \"features\": {\n        \"containerd-snapshotter\": true\n    }\n}\n"), "{text}");
        assert_eq!(take(&text).expect("taken").expect("a change"), MINE);
    }

    #[test]
    fn other_features_are_kept() {
        let before = r#"{"features": {"cdi": true, "containerd-snapshotter": false}, "debug": true}"#;
        let text = put(before).expect("put").expect("a change");
        assert_eq!(text, before.replace("false", "true"));
        let after = take(&text).expect("taken").expect("a change");
        assert_eq!(after, r#"{"features": {"cdi": true}, "debug": true}"#);
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let on = r#"{"features":{"containerd-snapshotter":true}}"#;
        assert_eq!(put(on), Ok(None));
        for off in ["", "{}", r#"{"features":{}}"#, r#"{"features":{"containerd-snapshotter":false}}"#] {
            assert_eq!(take(off), Ok(None), "{off}");
        }
    }

    #[test]
    fn where_dockerd_maps_ids_the_store_is_not_switched_on() {
        for mapped in
            [r#"{"userns-remap": "default"}"#, r#"{"userns-remap":"u","features":{"containerd-snapshotter":true}}"#]
        {
            assert!(remaps(mapped) && put(mapped).is_err_and(|why| why.contains("userns-remap")), "{mapped}");
        }
        assert!(
            take(r#"{"userns-remap": "u", "features": {"containerd-snapshotter": true}}"#)
                .is_ok_and(|text| text.is_some())
        );
        for not in ["", "{}", r#"{"userns-remap": ""}"#, "{"] {
            assert!(!remaps(not), "{not}");
        }
        assert!(put(r#"{"userns-remap": ""}"#).is_ok());
    }

    #[test]
    fn what_dockerd_would_not_read_is_told() {
        for text in ["[]", "{", "{\"a\": 1,}", "{} // mine", "{ // mine\n}", "{'a': 1}", r#"{"features": 1}"#, "true"] {
            assert!(put(text).is_err(), "{text}");
        }
        assert!(take(r#"{"features": []}"#).is_err());
    }
}
