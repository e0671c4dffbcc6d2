//! What the random sequences have found, by what was wrong.

use super::generate::Case;
use super::model::Switches;
use super::run::Bench;

/// All layers lead to the same tree in the three ways: without and with writers, with both prefixes.
#[track_caller]
fn same(layers: &[&str], switches: Switches) {
    let Some(bench) = Bench::new() else { return };
    for (writers, large, userxattr) in [(1, false, false), (4, true, true)] {
        let case = Case { writers, large, userxattr, switches, ..Case::of(layers) };
        bench.check(&case).unwrap_or_else(|text| panic!("{text}"));
    }
}

macro_rules! found {
    ($($(#[$doc:meta])* $name:ident: [$($layer:literal),+ $(,)?] $($switch:ident)*;)*) => {$(
        $(#[$doc])*
        #[test]
        fn $name() {
            #[allow(clippy::needless_update, reason = "most cases name no switch")]
            same(&[$($layer),+], Switches { $($switch: true,)* ..Switches::default() });
        }
    )*};
}

found! {
    finds_nothing_in_plain_layers: [
        "dir a mode=700 own=1:2 mtime=5.5 xattr=user,acl ; file a/b ; hard c = a/b ; link d -> a ; file d/x",
        "hide a/b",
    ];
    /// A directory over what this layer had put over a lower directory showed the lower content.
    finds_a_directory_that_replaces_what_hid_a_lower_directory: ["file b/a", "link b -> a ; dir b"];
    finds_a_directory_over_a_file_of_the_same_layer_below_an_opaque_root: ["file b/a", "opaque . ; file b ; dir b"];
    /// The target goes with the directory that the link replaces.
    finds_a_hardlink_that_replaces_the_directory_of_its_target: ["file a/b", "hard a = a/b"];
    /// A fresh upper root had the metadata of nobody.
    finds_the_root_of_a_layer_that_does_not_list_it: ["dir . mode=700 own=1:2 xattr=trusted", "file a"];
    /// A looping link was an error in overlay mode only, and a link of this layer to a lower directory was lost.
    finds_a_kept_link_that_loops: ["link b -> ../b", "dir b"] keep_links;
    finds_a_kept_link_to_a_lower_directory: ["file a/x", "link b -> a ; dir b mode=700"] keep_links;
    /// At the end the root took the lower root's metadata in place of the entry's.
    finds_a_kept_link_to_the_root: ["link a -> .. ; dir /a mode=700 mtime=5.5"] keep_links;
    /// rustix 1.1.6 gives no size for an empty buffer, so the default ACL of a directory that was there was unseen.
    finds_a_default_acl_of_a_lower_directory: ["dir . xattr=acl ; dir a xattr=acl", "file b ; file a/b ; dir a/c"];
    finds_a_default_acl_over_a_fifo: ["dir . xattr=acl", "fifo a ; null b"];
    /// overlayfs lists a whiteout in a directory that merges nothing.
    finds_a_whiteout_that_hides_nothing: ["file c/b ; hide c/a"];
    finds_a_whiteout_in_a_directory_that_lies_over_a_hidden_one: ["file a/b", "hide a", "file a/c ; hide a/b"];
    /// Attributes of links, FIFOs and devices were lost when they were copied up.
    finds_attributes_of_a_link_to_a_lower_link: ["link a -> x xattr=trusted", "hard b = a"];
    finds_attributes_of_a_link_to_a_lower_fifo: ["fifo a xattr=trusted,access ; null c xattr=trusted", "hard b = a ; hard d = c"];
    finds_a_copy_below_a_default_acl: ["dir a xattr=acl ; fifo a/b", "hard c = a/b"];
    /// The parent of the entry before was remembered although the link to it had gone.
    finds_a_link_hidden_after_it_was_followed: ["link b -> a", "file b/a ; hide b ; fifo b/a"];
    finds_a_link_replaced_after_it_was_followed: ["link b -> a", "file b/a ; dir b ; fifo b/c"];
    finds_a_link_covered_after_it_was_followed: ["link b -> a", "file b/a ; file b ; file b/c"];
    finds_a_link_below_an_opaque_directory_after_it_was_followed:
        ["link c/a -> b ; link a -> c/a", "file a/x ; opaque c ; file a/y"];
    finds_a_link_hidden_by_an_opaque_marker_after_it_was_followed:
        ["link c/a -> b ; link a -> ../c/a", "file a/b/x ; opaque c ; file a/b/c"];
    finds_a_link_hidden_by_an_opaque_root_after_it_was_followed:
        ["link a -> b", "file a/b/x ; opaque . ; file a/b/c"];
    /// What the lower layers have in the way of an implied directory gives way.
    finds_a_lower_file_in_the_way: ["file a ; link b -> a ; link c -> b", "file a/x ; file c/x"];
    finds_a_lower_file_in_the_way_that_a_hardlink_brought_up: ["file a", "hard b = a ; file a/x", "file b/c"];
    finds_a_link_in_the_way_that_leads_through_a_file: ["file a ; link b -> a/x", "dir b/c ; hide b", "file b"];
    /// What a link only passed through counted as touched.
    finds_a_directory_hidden_after_it_was_passed_through: ["link b -> c/../a ; dir c", "file b/a ; hide c"];
}

/// The end of a large archive closed descriptor 0 while files were still being made: the next one became
/// descriptor 0, and the filter killed the helper for changing the archive.
#[test]
fn finds_the_archive_closed_before_its_last_file() {
    let Some(bench) = Bench::new() else { return };
    for _ in 0..20 {
        let case = Case { large: true, ..Case::of(&["file a ; file b ; dir c ; file c/d"]) };
        bench.check(&case).unwrap_or_else(|text| panic!("{text}"));
    }
}
