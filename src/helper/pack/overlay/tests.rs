//! Attributes one by one, and random layers beside a mounted overlay.

mod mounted;

use super::redirect::BadRedirect;
use super::{BadMark, Marks, Redirect, Shape, Stands};
use crate::report::MarkProblem;

/// What a node with these attributes stands for.
fn stands(marks: Marks, shape: Shape, attributes: &[(&str, &str)]) -> Result<Stands, BadMark> {
    let value = |name: &[u8]| {
        attributes.iter().find(|(there, _)| there.as_bytes() == name).map(|(_, value)| value.as_bytes().to_vec())
    };
    marks.stands(shape, |name| Ok(value(name)))
}

const FILE: Shape = Shape::Regular { size: 5 };
const EMPTY: Shape = Shape::Regular { size: 0 };
const PLAIN_DIR: Stands = Stands::Directory { opaque: false, redirect: None };
const OPAQUE: Stands = Stands::Directory { opaque: true, redirect: None };
const ITSELF: Stands = Stands::Itself { regular: true };

#[test]
fn rule_21_whiteouts_are_devices_or_empty_files_with_the_attribute() {
    let device = |major, minor| Shape::CharDevice { major, minor };
    for (shape, attributes, want) in [
        (device(0, 0), &[][..], Stands::Whiteout),
        (device(0, 1), &[], Stands::Itself { regular: false }),
        (device(1, 0), &[], Stands::Itself { regular: false }),
        (EMPTY, &[("trusted.overlay.whiteout", "")], Stands::Whiteout),
        (EMPTY, &[("trusted.overlay.whiteout", "whatever")], Stands::Whiteout),
        (FILE, &[("trusted.overlay.whiteout", "y")], ITSELF),
        (EMPTY, &[("user.overlay.whiteout", "y")], ITSELF),
        (Shape::Directory, &[("trusted.overlay.whiteout", "y")], PLAIN_DIR),
        (Shape::Other, &[("trusted.overlay.whiteout", "y")], Stands::Itself { regular: false }),
    ] {
        assert_eq!(stands(Marks::Trusted, shape, attributes), Ok(want), "{shape:?} {attributes:?}");
    }
    assert_eq!(stands(Marks::User, EMPTY, &[("user.overlay.whiteout", "y")]), Ok(Stands::Whiteout));
}

#[test]
fn rule_21_opaque_is_the_value_y() {
    for (value, want) in [("y", OPAQUE), ("x", PLAIN_DIR), ("", PLAIN_DIR), ("yes", PLAIN_DIR)] {
        assert_eq!(stands(Marks::Trusted, Shape::Directory, &[("trusted.overlay.opaque", value)]), Ok(want), "{value}");
    }
}

#[test]
fn rule_22_one_prefix_is_in_force_and_the_other_is_data() {
    let forged = [("user.overlay.opaque", "y"), ("user.overlay.redirect", "/etc")];
    assert_eq!(stands(Marks::Trusted, Shape::Directory, &forged), Ok(PLAIN_DIR));
    assert_eq!(stands(Marks::User, Shape::Directory, &forged), Ok(OPAQUE));
    assert_eq!(stands(Marks::User, FILE, &[("trusted.overlay.metacopy", "")]), Ok(ITSELF));
}

#[test]
fn rule_22_overlays_own_names_are_not_packed_and_those_within_lose_a_level() {
    for (marks, name, want) in [
        (Marks::Trusted, "trusted.overlay.opaque", None),
        (Marks::Trusted, "trusted.overlay.anything", None),
        (Marks::Trusted, "trusted.overlay.overlay.opaque", Some("trusted.overlay.opaque")),
        (Marks::Trusted, "trusted.overlay.overlay.overlay.x", Some("trusted.overlay.overlay.x")),
        (Marks::Trusted, "trusted.overlayx", Some("trusted.overlayx")),
        (Marks::Trusted, "user.overlay.opaque", Some("user.overlay.opaque")),
        (Marks::Trusted, "user.a", Some("user.a")),
        (Marks::User, "user.overlay.origin", None),
        (Marks::User, "user.overlay.overlay.origin", Some("user.overlay.origin")),
        (Marks::User, "trusted.overlay.opaque", Some("trusted.overlay.opaque")),
    ] {
        assert_eq!(marks.packed(name.as_bytes()).as_deref(), want.map(str::as_bytes), "{name}");
    }
}

#[test]
fn rule_22_a_redirect_leads_to_names_and_nowhere_else() {
    let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
    for (value, want) in [
        ("a", Ok(Redirect::Name(b"a".to_vec()))),
        ("/a", Ok(Redirect::Path(names(&["a"])))),
        ("/a/b c/d", Ok(Redirect::Path(names(&["a", "b c", "d"])))),
        ("", Err(BadRedirect)),
        ("/", Err(BadRedirect)),
        ("//a", Err(BadRedirect)),
        ("/a/", Err(BadRedirect)),
        ("a/b", Err(BadRedirect)),
        (".", Err(BadRedirect)),
        ("..", Err(BadRedirect)),
        ("/a/../../etc", Err(BadRedirect)),
        ("/a/./b", Err(BadRedirect)),
        ("a\0b", Err(BadRedirect)),
    ] {
        assert_eq!(Redirect::parse(value.as_bytes().to_vec()), want, "{value:?}");
    }
}

#[test]
fn rule_22_metacopies_have_their_content_elsewhere() {
    let redirect = Some(Redirect::Path(vec![b"a".to_vec()]));
    let attributes = [("trusted.overlay.metacopy", ""), ("trusted.overlay.redirect", "/a")];
    assert_eq!(stands(Marks::Trusted, FILE, &attributes), Ok(Stands::Metacopy { redirect }));
    assert_eq!(stands(Marks::Trusted, FILE, &attributes[..1]), Ok(Stands::Metacopy { redirect: None }));
    assert_eq!(stands(Marks::Trusted, FILE, &attributes[1..]), Ok(ITSELF));
    let bad = |name: &str, what| Err(BadMark { name: name.into(), what });
    // Nothing, or a header of four bytes that has the length of all, and a digest.
    for (value, whole) in [
        ("\0\x04\0\0", true),
        ("\0\x24\0\x01 a digest of thirty-two bytes.. ", true),
        ("y", false),
        ("\0\x04\0", false),
        ("\x01\x04\0\0", false),
        ("\0\x05\0\0", false),
        ("\0\x05\0\x01", false),
    ] {
        let want = match whole {
            true => Ok(Stands::Metacopy { redirect: None }),
            false => bad("trusted.overlay.metacopy", MarkProblem::NoMetacopy),
        };
        assert_eq!(stands(Marks::Trusted, FILE, &[("trusted.overlay.metacopy", value)]), want, "{value:?}");
    }
    let climbing = stands(Marks::Trusted, FILE, &[attributes[0], ("trusted.overlay.redirect", "..")]);
    assert_eq!(climbing, bad("trusted.overlay.redirect", MarkProblem::Malformed));
    // Who owns a file could have another's content read.
    let forged = stands(Marks::User, FILE, &[("user.overlay.metacopy", ""), ("user.overlay.redirect", "/etc/shadow")]);
    assert_eq!(forged, bad("user.overlay.metacopy", MarkProblem::NotFollowed));
    let forged = stands(Marks::User, Shape::Directory, &[("user.overlay.redirect", "/root")]);
    assert_eq!(forged, bad("user.overlay.redirect", MarkProblem::NotFollowed));
}
