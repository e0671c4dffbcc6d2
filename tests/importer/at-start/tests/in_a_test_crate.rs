//! The macro in the crate of the tests itself.
#![deny(unsafe_code)]

untar_in_root::helper_at_start!();

#[test]
fn this_very_program_is_the_helper() {
    let root = std::env::temp_dir().join(format!("importer-own-{}", std::process::id()));
    std::fs::create_dir(&root).expect("a directory");
    let archive: &[u8] = include_bytes!("../../archive.tar");
    let untar = untar_in_root::Untar::open(&root).expect("root");
    let program = untar_in_root::Program::this().expect("initialised");
    let report = untar.program(program).apply(archive).expect("unpacked");
    assert_eq!(report.entries.files, 1);
    std::fs::remove_dir_all(root).expect("removed");
}

#[test]
fn started_by_hand_as_a_helper_it_says_what_it_is() {
    use std::os::unix::process::CommandExt;
    let this = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(this).arg0("untar-in-root:helper").output().expect("started");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("started by the library"), "{output:?}");
}
