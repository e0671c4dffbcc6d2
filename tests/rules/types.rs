//! Rule 11: by type.

use rustix::io::Errno;
use untar_in_root::{Devices, ErrorKind, EventKind, Refusal};

use crate::support::expected::Expected;
use crate::support::privilege::{need_root, need_uid0};
use crate::support::run::{Run, both, layers, plain};
use crate::support::tarball::{SparseFormat, Tarball};

fn tar() -> Tarball {
    Tarball::new()
}

const SPARSE: [SparseFormat; 4] = [SparseFormat::OldGnu, SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10];

#[test]
fn rule_11_regular_files_of_each_flag() {
    for flag in [b'0', 0, b'7'] {
        both(&[tar().entry("f", flag, "1")], |run| {
            run.leads_to("f=1");
        });
    }
}

#[test]
fn rule_11_directories_of_each_flag() {
    for (name, flag) in [("d", b'5'), ("d/", b'5'), ("d/", b'0'), ("d/", 0), ("d", b'D'), ("d/", b'D')] {
        both(&[tar().entry(name, flag, "").with(|e| _ = e.mode(0o750)).file("d/f", "1")], |run| {
            run.leads_to("d/ d/f=1").has("d", "mode", "0750");
        });
    }
}

#[test]
fn rule_11_links_and_fifos() {
    both(&[tar().file("f", "1").symlink("s", "/../f").hardlink("h", "f").fifo("p").hardlink("q", "p")], |run| {
        run.leads_to("f=1 h==f p| q==p s->/../f");
    });
}

#[test]
fn rule_11_devices_and_their_links() {
    if !need_root() {
        return;
    }
    both(&[tar().char_dev("c", 1, 3).block_dev("b", 4095, 1_048_575).hardlink("h", "c")], |run| {
        run.leads_to("b:4095,1048575 c:1,3 h==c").has("c", "mode", "0644");
    });
}

#[test]
fn rule_11_device_numbers_out_of_range_are_refused() {
    for (major, minor) in [(4096, 0), (0, 1 << 20), (-1, 3), (1, -3), (1 << 32 | 1, 3), (1, 1 << 32 | 3), (i64::MAX, 0)]
    {
        both(&[tar().char_dev("c", major, minor)], |run| {
            run.fails(ErrorKind::Refused, Refusal::DeviceNumber).leaves("");
        });
    }
}

#[test]
fn rule_11_devices_without_the_right_to_make_them_go_by_policy() {
    // In a user namespace no device can be made.
    let run = |devices| {
        Run::of(&[tar().char_dev("c", 1, 3).with(|e| _ = e.mode(0o666)).fifo("p")], |o| {
            o.devices = devices;
            o.jail.user_namespace = untar_in_root::UserNamespace::Single;
        })
    };
    if !crate::support::privilege::need_userns() {
        return;
    }
    run(Devices::Error).fails(ErrorKind::Entry, Errno::PERM).leaves("");
    run(Devices::Skip).leads_to("p|").tells(&[EventKind::DeviceSkipped { errno: 1 }]);
    run(Devices::Placeholder)
        .leads_to("c= p|")
        .tells(&[EventKind::DevicePlaceholder { errno: 1 }])
        .has("c", "mode", "0666");
}

#[test]
fn rule_11_a_skipped_device_does_not_keep_what_was_there() {
    if !crate::support::privilege::need_userns() {
        return;
    }
    // The device replaces what the layers below have; skipped, nothing is there.
    Run::of(&[tar().file("c", "old"), tar().char_dev("c", 1, 3)], |o| {
        o.devices = Devices::Skip;
        o.jail.user_namespace = untar_in_root::UserNamespace::Single;
        o.mode = untar_in_root::Mode::Layer;
    })
    .leads_to("");
}

#[test]
fn rule_11_sparse_files_have_real_holes() {
    let megabyte = 1 << 20;
    for format in SPARSE {
        let archive = tar().sparse("s", format, &[(megabyte, b"in the middle"), (3 * megabyte, b"end")], 4 * megabyte);
        both(&[archive.file("n", "next")], |run| {
            run.report();
            let tree = run.tree();
            assert_eq!((tree.get("s", "size"), tree.get("n", "content")), ("4194304", "next"), "{format:?}");
            assert_eq!(tree.get("s", "holes"), "1048576+4096,3145728+4096", "{format:?}");
        });
    }
}

#[test]
fn rule_11_sparse_maps_of_any_length() {
    for format in SPARSE {
        let pieces: Vec<(u64, &[u8])> = (0..60).map(|i| (i * 8192, &b"x"[..])).collect();
        let archive = tar().sparse("s", format, &pieces, 60 * 8192).sparse("hole", format, &[], 100_000);
        plain(archive).has("s", "size", "491520").has("hole", "holes", "").has("hole", "size", "100000");
    }
}

#[test]
fn rule_11_volume_headers_are_skipped_with_an_event() {
    for flag in *b"VMNA" {
        both(&[tar().entry("label", flag, "").file("f", "1")], |run| {
            run.leads_to("f=1").tells(&[EventKind::SkippedType(flag)]);
        });
        // Their bodies are skipped, too.
        both(&[tar().entry("label", flag, vec![7; 1000]).file("f", "1")], |run| {
            run.leads_to("f=1");
        });
    }
}

#[test]
fn rule_11_other_type_flags_are_refused() {
    for flag in *b"8Z9@!E" {
        both(&[tar().file("a", "").entry("f", flag, "")], |run| {
            run.fails(ErrorKind::Refused, Refusal::UnknownType(flag)).leaves("a=");
        });
    }
}

#[test]
fn rule_11_a_hardlink_needs_its_target_at_that_moment() {
    layers(&[tar().file("f", "1"), tar().hardlink("h", "f")]).leads_to("f=1 h==f");
    layers(&[tar().file("f", "1"), tar().whiteout("f").hardlink("h", "f")])
        .fails(ErrorKind::Entry, Expected::LinkTargetMissing)
        .leaves("");
    for missing in ["g", "no/g", "f/g"] {
        both(&[tar().file("f", "1").hardlink("h", missing)], |run| {
            run.fails(ErrorKind::Entry, Expected::LinkTargetMissing).leaves("f=1");
        });
    }
}

#[test]
fn rule_11_a_forward_hardlink_is_an_error_that_names_both() {
    let run = plain(tar().hardlink("name/one", "target/two").file("target/two", "1"));
    let run = run.fails(ErrorKind::Entry, Expected::LinkTargetMissing);
    let text = run.error().to_string();
    assert!(text.contains("name/one") && text.contains("target/two"), "{text}");
}

#[test]
fn rule_11_a_hardlink_never_follows_a_final_symlink() {
    both(&[tar().file("f", "1").symlink("s", "f").hardlink("h", "s")], |run| {
        run.leads_to("f=1 h->f s==h");
    });
    both(&[tar().file("d/f", "1").symlink("s", "/d").hardlink("h", "s/f")], |run| {
        run.leads_to("d/ d/f=1 h==d/f s->/d");
    });
}

#[test]
fn rule_11_a_link_survives_its_target() {
    layers(&[tar().file("f", "1"), tar().hardlink("h", "f").whiteout("f")]).leads_to("h=1");
    layers(&[tar().file("f", "1"), tar().hardlink("h", "f").file("f", "2")]).leads_to("f=2 h=1");
    layers(&[tar().file("d/f", "1"), tar().hardlink("h", "d/f").opaque("d")]).leads_to("d/ h=1");
}

#[test]
fn rule_11_a_hardlink_to_a_directory_is_refused() {
    both(&[tar().dir("d").hardlink("h", "d")], |run| {
        run.fails(ErrorKind::Refused, Refusal::HardlinkToDirectory).leaves("d/");
    });
    plain(tar().hardlink("h", "/")).fails(ErrorKind::Refused, Refusal::HardlinkToDirectory);
}

#[test]
fn rule_11_a_hardlink_over_its_targets_directory_is_an_error() {
    // Over a directory that holds the target: the target goes first, so there is nothing to link to.
    let run = plain(tar().file("d/f", "1").hardlink("d", "d/f"));
    run.fails(ErrorKind::Entry, Expected::LinkTargetMissing);
}

#[test]
fn rule_11_device_0_0_is_a_device_in_literal_mode() {
    if !need_uid0() {
        return;
    }
    // A character device 0:0 is a forged whiteout in overlay mode only.
    let run = plain(tar().char_dev("c", 0, 0));
    run.leads_to("c:0,0");
}
