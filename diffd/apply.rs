//! One layer: from the request to the answer.

use crate::blob::{self, Blob};
use crate::config::Settings;
use crate::interface::diff::ApplyRequest;
use crate::interface::types::Descriptor;
use crate::media;
use crate::mounts::Target;
use crate::policy;
use crate::record::Record;
use crate::status::Trouble;
use crate::turns::{Turn, Turns};
use std::path::Path;
use std::sync::Arc;
use untar_in_root::{Canceller, Report, Untar};

/// What was asked for, as far as it can be told without looking at any file but for names with escapes.
pub(crate) struct Asked {
    pub(crate) descriptor: Descriptor,
    layer: media::Layer,
    pub(crate) target: Target,
    sync: bool,
}

impl Asked {
    /// # Errors
    ///
    /// What this differ does not apply, and what nobody could.
    pub(crate) fn of(request: ApplyRequest) -> Result<Asked, Trouble> {
        let descriptor = request.diff.ok_or(Trouble::NoDescriptor)?;
        let layer = media::layer(&descriptor.media_type);
        let layer = layer.ok_or_else(|| Trouble::MediaType(descriptor.media_type.clone()))?;
        let target = Target::of(&request.mounts, Path::exists)?;
        Ok(Asked { descriptor, layer, target, sync: request.sync_fs })
    }

    /// Layers that are unpacked side by side come without what lies below them.
    pub(crate) fn is_beside_others(&self) -> bool {
        matches!(&self.target, Target::Upper { lowers, .. } if lowers.is_empty())
    }
}

/// Applies it when its turn comes. Dropped, it ends the helper; its turn ends with the helper's end.
pub(crate) async fn apply(
    asked: Asked,
    settings: Arc<Settings>,
    turns: &Turns,
    record: &Record,
) -> Result<Report, Trouble> {
    let stall = settings.stall;
    let turn = turns.next(stall, || record.waits()).await?;
    record.its_turn();
    let canceller = Canceller::default();
    let _guard = CancelOnDrop(canceller.clone());
    let pulse = turn.pulse();
    let applied = tokio::task::spawn_blocking(move || here(&asked, &settings, canceller, turn));
    tokio::select! {
        applied = applied => applied.unwrap_or(Err(Trouble::Bug)),
        // Not waited for: where the kernel does not let go of the helper, its turn and its thread are not given back.
        at = pulse.stops(stall) => Err(Trouble::Stalled(stall, at)),
    }
}

/// Ends the helper of a call that is given up.
pub(crate) struct CancelOnDrop(pub(crate) Canceller);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// In a thread, and not as a task of the runtime: the helper reads the blob by itself then, and the digest is read beside it.
fn here(asked: &Asked, settings: &Settings, canceller: Canceller, turn: Turn) -> Result<Report, Trouble> {
    let moves = turn.beats();
    let Blob { file, digest, start } = blob::open(&settings.content_root, &asked.descriptor)?;
    let mut options = policy::options(settings, &asked.target, asked.sync)?;
    options.compression = asked.layer.compression(&start);
    let (Target::Directory(root) | Target::Upper { upper: root, .. }) = &asked.target;
    let which = match &asked.target {
        Target::Directory(_) => "the snapshot's directory",
        Target::Upper { .. } => "the snapshot's upper directory",
    };
    let untar = Untar::open(root).map_err(|error| Trouble::Directory(which.into(), error))?;
    let untar = untar.options(options).expect_digest(digest).cancelled_by(canceller).on_progress(moves);
    Ok(untar.apply_fd(file)?)
}
