//! One layer that is made: from the request to the answer.

use crate::apply::CancelOnDrop;
use crate::config::Settings;
use crate::ingest::{BEGINNING, COMMITTING, Ingest, WRITING};
use crate::interface::diff::DiffRequest;
use crate::interface::types::Descriptor;
use crate::media;
use crate::policy;
use crate::record::Record;
use crate::service::Call;
use crate::sides::Sides;
use crate::status::Trouble;
use crate::store::{Caller, Store};
use crate::turns::{Turn, Turns};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use untar_in_root::{Canceller, Diff, Encoding, OverlayPrefix, Packed};

/// What was asked for, as far as it can be told without looking at any file but for names with escapes.
pub(crate) struct Asked {
    sides: Sides,
    media_type: String,
    encoding: Encoding,
    /// What the caller calls it until it is there; empty if that is not said.
    pub(crate) reference: String,
    labels: HashMap<String, String>,
    /// The latest time that an entry has, in seconds since 1970; later ones become it.
    epoch: Option<i64>,
}

impl Asked {
    /// # Errors
    ///
    /// What this differ does not make, and what nobody could.
    pub(crate) fn of(request: DiffRequest) -> Result<Asked, Trouble> {
        let DiffRequest { left, right, media_type, r#ref: reference, labels, source_date_epoch } = request;
        let media_type = if media_type.is_empty() { media::BY_DEFAULT.into() } else { media_type };
        let encoding = media::encoding(&media_type).ok_or_else(|| Trouble::NotMade(media_type.clone()))?;
        let sides = Sides::of(&left, &right, Path::exists)?;
        let epoch = source_date_epoch.map(|time| time.seconds);
        Ok(Asked { sides, media_type, encoding, reference, labels, epoch })
    }
}

/// A layer that is in the content store.
pub(crate) struct Made {
    pub(crate) packed: Packed,
    pub(crate) descriptor: Descriptor,
}

/// What containerd takes with one message.
const CHUNK: usize = 1 << 20;
/// Chunks that wait for containerd while the next one is made.
const AHEAD: usize = 2;

/// Makes it when its turn comes. Dropped, it ends the helper and takes back what containerd has of it; its turn ends with the
/// helper's end.
pub(crate) async fn make(
    asked: Asked,
    caller: Caller,
    settings: Arc<Settings>,
    turns: &Turns,
    record: &Record,
    call: Call,
) -> Result<Made, Trouble> {
    let stall = settings.stall;
    let turn = turns.next(stall, || record.waits()).await?;
    record.its_turn();
    let pulse = turn.pulse();
    tokio::select! {
        made = in_turn(asked, caller, settings, turn, call) => made,
        at = pulse.stops(stall) => Err(Trouble::Stalled(stall, at)),
    }
}

async fn in_turn(
    asked: Asked,
    caller: Caller,
    settings: Arc<Settings>,
    turn: Turn,
    call: Call,
) -> Result<Made, Trouble> {
    let asks = turn.asks();
    asks(Some(BEGINNING));
    let store = Store::connect(&settings.containerd_address, caller).await?;
    let Asked { sides, media_type, encoding, reference, labels, epoch } = asked;
    let mut ingest = Ingest::begin(store, reference, call).await?;
    asks(None);
    let canceller = Canceller::default();
    let _guard = CancelOnDrop(canceller.clone());
    let (chunks, mut packed) = mpsc::channel(AHEAD);
    let packing = Packing { sides, encoding, epoch, canceller, chunks: Chunks::new(chunks) };
    let helper = tokio::task::spawn_blocking(move || packing.run(&settings, turn));
    while let Some(chunk) = packed.recv().await {
        asks(Some(WRITING));
        ingest.write(chunk).await?;
        asks(None);
    }
    let packed = helper.await.unwrap_or(Err(Trouble::Bug))?;
    asks(Some(COMMITTING));
    let size = ingest.commit(&packed, labels).await?;
    let digest = packed.digest.map(|digest| digest.to_string()).unwrap_or_default();
    let descriptor = Descriptor { media_type, digest, size, annotations: HashMap::new() };
    Ok(Made { packed, descriptor })
}

/// What goes on in a thread.
struct Packing {
    sides: Sides,
    encoding: Encoding,
    epoch: Option<i64>,
    canceller: Canceller,
    chunks: Chunks,
}

impl Packing {
    fn run(self, settings: &Settings, turn: Turn) -> Result<Packed, Trouble> {
        let moves = turn.beats();
        let options = policy::packing(settings, self.encoding, self.epoch);
        let diff = described(&self.sides)?.options(options).cancelled_by(self.canceller).on_progress(moves);
        diff.to(self.chunks).map_err(Trouble::Make)
    }
}

fn described(sides: &Sides) -> Result<Diff, Trouble> {
    let failed = |which: &'static str| move |error| Trouble::Directory(which.into(), error);
    match sides {
        Sides::Layer { upper, lowers, user_marks } => {
            let prefix = if *user_marks { OverlayPrefix::User } else { OverlayPrefix::Trusted };
            let diff = Diff::upper(upper).map_err(failed("the snapshot's upper directory"))?;
            Ok(diff.prefix(prefix).lowers(policy::opened(lowers)?))
        }
        Sides::Between { left, right } => {
            Diff::between(left, right).map_err(failed("a directory of one of the two snapshots"))
        }
    }
}

/// Hands on what is written to it, in messages for containerd.
struct Chunks {
    chunk: Vec<u8>,
    to: mpsc::Sender<Vec<u8>>,
}

impl Chunks {
    fn new(to: mpsc::Sender<Vec<u8>>) -> Chunks {
        Chunks { chunk: Vec::with_capacity(CHUNK), to }
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        // Whoever does not take it has the reason.
        self.to.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
