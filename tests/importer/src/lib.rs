//! Fetches images and unpacks them, asynchronously.
#![forbid(unsafe_code)]

use std::path::Path;
use tokio::io::AsyncRead;
use untar_in_root::{Error, Report, Untar};

/// Unpacks what is being downloaded.
pub async fn unpack(root: &Path, download: impl AsyncRead) -> Result<Report, Error> {
    Untar::open(root)?.apply_async(download).await
}

#[cfg(test)]
mod tests {
    use at_start as _;
    use std::fs;

    const ARCHIVE: &[u8] = include_bytes!("../archive.tar");

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    fn scratch(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("importer-{name}-{}", std::process::id()));
        fs::create_dir(&dir).expect("a directory");
        dir
    }

    #[test]
    fn a_download_is_unpacked() {
        let root = scratch("good");
        let report = runtime().block_on(super::unpack(&root, ARCHIVE)).expect("unpacked");
        assert_eq!((report.entries.files, fs::read(root.join("motd")).expect("motd")), (1, b"hello\n".to_vec()));
        fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn half_a_download_is_an_error() {
        let root = scratch("half");
        let error = runtime().block_on(super::unpack(&root, &ARCHIVE[..515])).expect_err("cut short");
        assert_eq!(error.kind(), untar_in_root::ErrorKind::Archive);
        fs::remove_dir_all(root).expect("removed");
    }
}
