//! Options that bound what the archive may cost.

use super::values;
use std::time::Duration;
use untar_in_root::Options;

/// Bounds; sizes take K, M, G and T.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits (K, M, G and T are powers of 1024)")]
pub(crate) struct Limits {
    /// Bytes of the uncompressed archive, and of content; or `none` [default: 256G]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_total_bytes: Option<u64>,

    /// Bytes of one file, holes included; or `none` [default: 64G]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_file_bytes: Option<u64>,

    /// Entries, whiteouts and skipped ones too; or `none` [default: 10000000]
    #[arg(long, value_name = "N", value_parser = values::count)]
    max_entries: Option<u64>,

    /// Uncompressed bytes for one compressed, from 64 MiB on; or `none` [default: 1000]
    #[arg(long, value_name = "N", value_parser = values::count)]
    max_ratio: Option<u64>,

    /// Wall time in seconds, or with ms, s, m, h; 0 for none [default: none]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    timeout: Option<Duration>,

    /// Address space of the helper; 0 for no limit [default: none]
    #[arg(long, value_name = "SIZE", value_parser = values::size, hide_short_help = true)]
    max_memory: Option<u64>,

    /// Components of one name [default: 8192]
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_depth: Option<u32>,

    /// Bytes of one name or link target [default: 128K]
    #[arg(long, value_name = "SIZE", value_parser = values::small_size, hide_short_help = true)]
    max_name_bytes: Option<u32>,

    /// Bytes of the extended headers of one entry [default: 1M]
    #[arg(long, value_name = "SIZE", value_parser = values::small_size, hide_short_help = true)]
    max_extended_header_bytes: Option<u32>,

    /// Extended attributes of one entry [default: 256]
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_xattrs: Option<u32>,

    /// Bytes of one extended attribute [default: 64K]
    #[arg(long, value_name = "SIZE", value_parser = values::small_size, hide_short_help = true)]
    max_xattr_bytes: Option<u32>,

    /// Data regions of one sparse file [default: 100000]
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_sparse_regions: Option<u32>,

    /// Warnings that the report holds; the rest are counted [default: 1000]
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_events: Option<u32>,
}

impl Limits {
    pub(super) fn set(&self, options: &mut Options) {
        let limits = &mut options.limits;
        fn put<T: Copy>(place: &mut T, given: Option<T>) {
            *place = given.unwrap_or(*place);
        }
        put(&mut limits.total_bytes, self.max_total_bytes);
        put(&mut limits.file_bytes, self.max_file_bytes);
        put(&mut limits.entries, self.max_entries);
        put(&mut limits.ratio, self.max_ratio);
        put(&mut limits.depth, self.max_depth);
        put(&mut limits.name_bytes, self.max_name_bytes);
        put(&mut limits.extended_header_bytes, self.max_extended_header_bytes);
        put(&mut limits.xattrs, self.max_xattrs);
        put(&mut limits.xattr_bytes, self.max_xattr_bytes);
        put(&mut limits.sparse_regions, self.max_sparse_regions);
        put(&mut limits.events, self.max_events);
        options.jail.limits.memory_bytes = self.max_memory.filter(|bytes| ![0, u64::MAX].contains(bytes));
        options.jail.limits.timeout = self.timeout.filter(|time| !time.is_zero());
    }
}
