//! What the pages on `.dockerignore` promise, a slow model of it, and moby itself.

mod moby;
mod model;

use super::{Bad, BadLine, Ignore};
use proptest::prelude::*;

fn ignore(file: &str) -> Ignore {
    Ignore::parse(file.as_bytes()).expect("a file")
}

/// A file, paths that it leaves out, and paths that it does not.
const TABLE: &[(&str, &[&str], &[&str])] = &[
    // The examples of Docker's reference.
    ("*/temp*", &["a/temporary.txt", "a/temp", "a/temp/below"], &["temp", "a/b/temp"]),
    ("*/*/temp*", &["a/sub/temporary.txt"], &["a/temporary.txt", "a/b/c/temp"]),
    ("temp?", &["tempa", "tempb", "temp1/x"], &["temp", "tempab", "a/tempa", "temp/"]),
    ("**/*.go", &["a.go", "a/b.go", "a/b/c.go"], &["a.gox", "go"]),
    ("*.md\n!README.md", &["a.md", "b.md"], &["README.md", "a/b.md"]),
    ("*.md\n!README*.md\nREADME-secret.md", &["a.md", "README-secret.md"], &["README.md", "README-x.md"]),
    ("*.md\nREADME-secret.md\n!README*.md", &["a.md"], &["README-secret.md", "README.md"]),
    // Anchored at the top; what is below a match matches.
    ("a", &["a", "a/b", "a/b/c"], &["b/a", "ab", "A"]),
    ("a/b", &["a/b", "a/b/c"], &["a", "b", "a/bc", "x/a/b"]),
    ("*", &["a", ".a", "a/b"], &[]),
    ("a*", &["a", "ab", "ab/c"], &["b", "b/a"]),
    ("a/*", &["a/b", "a/b/c"], &["a"]),
    ("a*/b", &["abc/b"], &["a/c/b", "b"]),
    ("a*b*c*d*e*/f", &["axbxcxdxe/f", "axbxcxdxexxx/f/g"], &["axbxcxdxe/xxx/f", "axbxcxdxexxx/fff"]),
    ("a?b", &["axb", "a\u{263a}b"], &["a/b", "ab", "axxb"]),
    // `**`.
    ("**", &["a", "a/b", ".a"], &[]),
    ("**/", &["a", "a/b"], &[]),
    ("**/**", &["a", "a/b"], &[]),
    ("a/**", &["a/b", "a/b/c"], &["a", "ab", "b/a/c"]),
    ("a**", &["a", "ab", "ab/c"], &["ba"]),
    ("**/a", &["a", "x/a", "x/y/a", "x/a/b"], &["xa", "x/ya", "ab"]),
    ("**a", &["a", "xa", "x/ya", "x/a"], &["ab"]),
    ("**/.a", &[".a", "x/.a"], &["b.a", "x/b.a"]),
    ("**/a/b", &["a/b", "x/a/b", "x/y/a/b/c"], &["a", "b", "xa/b"]),
    ("**/a*b", &["ab", "x/axb"], &["x/a/b", "xab"]),
    ("**a*b", &["ab", "x/axb"], &["xab", "x/yab"]),
    ("**/a/*", &["a/b", "x/a/b/c"], &["a", "x/a"]),
    ("**/a/**", &["a/b", "x/a/b/c"], &["a", "x/a"]),
    ("**/**/*.txt", &["a.txt", "x/y/a.txt"], &["a.txt2"]),
    ("a**/*.txt", &["a/f.txt", "a/d/e/f.txt", "ab/f.txt", "af.txt"], &["b/f.txt", "a/f"]),
    ("a/*.txt**", &["a/f.txt", "a/f.txtx", "a/f.txt/x"], &["a/b/f.txt"]),
    ("a/**/b", &["a/b", "a/x/b", "a/x/y/b/c"], &["a", "ab", "a/xb"]),
    ("***", &["a", "a/b"], &[]),
    // Sets and escapes.
    ("a[b-d]e", &["ace", "abe/x"], &["ae", "aae", "a/e"]),
    ("a[^b-d]e", &["aze", "a/e"], &["ace", "ae"]),
    ("[\\]a]", &["]", "a"], &["\\", "b"]),
    ("[x\\-]", &["x", "-"], &["z"]),
    ("[*?]", &["*", "?"], &["a"]),
    ("[a-\u{3b6}]*", &["\u{3b1}x"], &["A"]),
    ("a\\*b", &["a*b"], &["axb", "ab"]),
    ("a\\\\", &["a\\"], &["a"]),
    ("\\d", &["d"], &["1", "\\d"]),
    ("a]", &["a]"], &["a"]),
    ("a{b,c}", &["a{b,c}"], &["ab"]),
    ("a.|)$(}+{bc", &["a.|)$(}+{bc"], &["ax|)$(}+{bc"]),
    // Folded away.
    ("/a", &["a", "a/b"], &["b/a"]),
    ("a/", &["a", "a/b"], &[]),
    ("./a//./b/", &["a/b"], &["a"]),
    ("a/../b", &["b"], &["a", "a/b"]),
    ("../a", &[], &["a", "b/a"]),
    ("/../a", &["a"], &[]),
    ("  a  \t", &["a"], &[" a"]),
    ("a\r\nb\r\n", &["a", "b"], &["c"]),
    ("\u{feff}a", &["a"], &["\u{feff}a"]),
    ("b\n\u{feff}a", &["b", "\u{feff}a"], &["a"]),
    // What means the top means nothing.
    (".\n/\n./\n..", &[], &["a", "."]),
    // Comments.
    ("#a\n # b", &["# b"], &["#a", "a", "b"]),
    ("\\#a", &["#a"], &["a"]),
    ("a#b", &["a#b"], &["a"]),
    // Exceptions.
    ("!a\n*", &["a", "b"], &[]),
    ("a\n!a/b", &["a", "a/c", "a/bc"], &["a/b", "a/b/c"]),
    ("a\n! /a/b/ ", &["a"], &["a/b"]),
    ("**\n!a/b\na/b/c", &["a", "a/b/c", "a/b/c/d", "x"], &["a/b", "a/b/d"]),
    ("**\n!x/*.whl", &["x", "x/a/b.whl"], &["x/a+b.whl"]),
    // Bytes.
    ("a\nb c", &["b c"], &["b", "c"]),
];

#[test]
fn rule_19_dockerignore_as_documented() {
    for (file, out, within) in TABLE {
        let ignore = ignore(file);
        for path in *out {
            assert!(ignore.excluded(path.as_bytes(), 0), "{file:?} should leave out {path:?}");
        }
        for path in *within {
            assert!(!ignore.excluded(path.as_bytes(), 0), "{file:?} should not leave out {path:?}");
        }
    }
}

#[test]
fn rule_19_names_are_bytes() {
    let ignore = Ignore::parse(b"a?c\n\xff*\n[\x80-\x85]x\nb\\\xff").expect("a file");
    for path in [&b"a\xffc"[..], b"\xffx", b"\x81x", b"b\xff", "a\u{263a}c".as_bytes(), b"a\nc"] {
        assert!(ignore.excluded(path, 0), "{path:?}");
    }
    for path in [&b"a\xff\xffc"[..], b"\xfe", b"\x86x", b"a\xe2\x98c"] {
        assert!(!ignore.excluded(path, 0), "{path:?}");
    }
}

#[test]
fn rule_19_paths_as_a_walk_has_them() {
    let ignore = ignore("a\n**/b");
    for path in ["a", "a/", "./a", "./a/", "x/b/"] {
        assert!(ignore.excluded(path.as_bytes(), 0), "{path}");
    }
    for top in ["", ".", "./"] {
        assert!(!super::tests::ignore("**").excluded(top.as_bytes(), 0), "{top:?}");
    }
}

#[test]
fn rule_19_bad_lines_are_told() {
    for (file, line, what) in [
        ("!", 1, Bad::LoneException),
        ("a\n\n  !  \n", 3, Bad::LoneException),
        ("a\n[", 2, Bad::Class),
        ("[]a]", 1, Bad::Class),
        ("[^", 1, Bad::Class),
        ("[^bc", 1, Bad::Class),
        ("[-]", 1, Bad::Class),
        ("[x-]", 1, Bad::Class),
        ("[a-b-c]", 1, Bad::Class),
        ("[b-a]", 1, Bad::Class),
        ("[a\\", 1, Bad::Class),
        ("a\\", 1, Bad::Escape),
        ("!a\\", 1, Bad::Escape),
    ] {
        assert_eq!(Ignore::parse(file.as_bytes()).map(|_| ()), Err(BadLine { line, what }), "{file:?}");
    }
}

#[test]
fn rule_19_what_is_excluded_is_listed_where_an_exception_may_be() {
    for (file, dir, want) in [
        ("a", "a", false),
        ("a\n!a/b", "a", true),
        ("a\n!a/b", "a/c", false),
        ("a\n!a/b/c", "a/b", true),
        ("!a/b\na", "a", false),
        ("**\n!**/keep", "x/y", true),
        ("**\n!x/*/keep", "x", true),
        ("**\n!x/*/keep", "x/y", true),
        ("**\n!x/*/keep", "x/y/z", false),
        ("**\n!x/*/keep", "y", false),
        ("**\n!a[bc]/d", "ab", true),
        ("**\n!a[bc]/d", "ad", false),
        ("a\n!b", "c", true),
        ("a\n!ab", "a", false),
    ] {
        assert_eq!(ignore(file).may_hold_exception(dir.as_bytes(), 0), want, "{file:?} {dir}");
    }
}

/// Many stars cost no more than their number times the length: what tries each way in turn would need 10^30 steps.
#[test]
fn rule_19_no_pattern_is_slow() {
    let pattern = "*a".repeat(200) + "*b";
    let deep = "**/a/".repeat(200) + "b";
    let ignore = ignore(&format!("{pattern}\n{deep}\n**/{pattern}"));
    assert!(!ignore.excluded(&b"a".repeat(4000), 0));
    assert!(!ignore.excluded(&b"a/".repeat(2000), 0));
    assert!(ignore.excluded(&[&b"a/".repeat(2000)[..], b"b"].concat(), 0));
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let piece = prop_oneof![
        6 => "[abc.]",
        3 => Just("/".to_owned()),
        3 => Just("*".to_owned()),
        2 => Just("**".to_owned()),
        1 => Just("**/".to_owned()),
        1 => Just("/**".to_owned()),
        1 => Just("?".to_owned()),
        1 => Just("[ab]".to_owned()),
        1 => Just("[^ab]".to_owned()),
        1 => Just("\\*".to_owned()),
        1 => Just("\u{e9}".to_owned()),
    ];
    let pattern = prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat());
    let line = (prop::bool::weighted(0.3), pattern)
        .prop_map(|(excepts, pattern)| if excepts { format!("!{pattern}") } else { pattern });
    prop::collection::vec(line, 1..5)
}

const PATH: &str = "([abc.\u{e9}*][abc\u{e9}]|[abc\u{e9}])(/[abc\u{e9}]{1,2}){0,3}";

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn rule_19_as_the_slow_model_has_it(lines in lines(), paths in prop::collection::vec(PATH, 1..8)) {
        let ignore = ignore(&lines.join("\n"));
        for path in &paths {
            prop_assert_eq!(ignore.excluded(path.as_bytes(), 0), model::excluded(&lines, path), "{:?} {:?}", lines, path);
        }
    }

    #[test]
    fn rule_19_nothing_wanted_is_below_what_is_not_listed(lines in lines(), dir in PATH, below in PATH) {
        let ignore = ignore(&lines.join("\n"));
        let wanted = !model::excluded(&lines, &format!("{dir}/{below}"));
        let listed = !ignore.excluded(dir.as_bytes(), 0) || ignore.may_hold_exception(dir.as_bytes(), 0);
        prop_assert!(listed || !wanted, "{:?} {:?} {:?}", lines, dir, below);
    }
}
