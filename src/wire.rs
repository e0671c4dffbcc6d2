//! The control socket between parent and helper: bounded frames of bincode; the only file that knows it.
//!
//! A frame is 4 bytes of magic (`uirD` towards the helper, `uirU` from it, so that a peer that echoes is
//! not a helper), a little-endian u32 of version, another of length, at most [`MAX_FRAME`] or [`MAX_REQUEST`], and
//! that many bytes of one value in bincode 2's standard configuration. Bytes left over are refused.
//!
//! The version is derived when the crate is built (`build.rs`): from the crate's own version and the source text of every
//! file with types that are sent. Nobody has to remember to raise it, and a helper that is not of the same source is
//! refused at its first frame.
//!
//! Each frame has its time. The helper is sent one `Request`, then answers only. What it may say, and in which state
//! (`linux/child/protocol.rs`); anything else, and anything more often than it says, is [`Garbled::Unexpected`]:
//!
//! | state | may be said | then |
//! |---|---|---|
//! | fresh | `NeedIdMap`, unless there is to be no user namespace; answered by `IdMapDone` | mapped |
//! | fresh, if no user namespace is demanded; mapped | `Started` | started |
//! | fresh, mapped | `Reply` with a failure | over |
//! | started | `Progress` if asked for, once in [`PACE`]; `Listed` if asked for, `Limits::entries` times; `Event`, `Limits::events` times; `NeedLowers` once, if they are to come later; answered by `LowersReady`; `Hungry` if asked for, with more bytes each time | |
//! | started | `Reply` | over |
//! | over | nothing | |
//!
//! A look at the socket takes at most [`Message::TURN`] bytes; then pipe, standard error, time limit and canceller
//! have their turn.

use crate::beginning::Beginning;
use crate::error::Garbled;
use crate::options::{Options, OverlayPrefix, PackOptions};
use crate::report::{Confinement, Event, Failure, Listed, Progress, Report};
use bincode::config::standard;
use bincode::error::DecodeError;
use bincode::serde::{decode_from_slice, encode_to_vec};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The most bytes that one frame from the helper may carry.
pub(crate) const MAX_FRAME: usize = 1 << 20;
/// And one towards it: a request has the caller's patterns in it, 32 MiB of them at most.
const MAX_REQUEST: usize = 64 << 20;
/// Between two frames of progress, at least.
pub(crate) const PACE: std::time::Duration = std::time::Duration::from_millis(100);
/// Parent and helper must be of one.
const VERSION: u32 = match u32::from_str_radix(env!("UNTAR_IN_ROOT_PROTOCOL"), 10) {
    Ok(version) => version,
    Err(_) => panic!("build.rs gives a number"),
};
const HEADER: usize = 12;

/// Towards the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Down {
    /// What to do; sent once, first.
    Request(Box<Request>),
    /// The user namespace is mapped, or the error number that kept it from being.
    IdMapDone(Result<(), IdMapFailure>),
    /// The lower directories are complete.
    LowersReady,
    /// What to pack, in place of a request to apply.
    Pack(Box<PackRequest>),
}

/// Everything that a helper is told that packs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackRequest {
    pub(crate) options: PackOptions,
    pub(crate) what: Packs,
}

/// What of the root is packed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Packs {
    /// These paths inside it, in this order.
    Paths(Vec<Vec<u8>>),
    /// The layer that it is as an overlayfs upper directory. The lower ones, the topmost first, or none if they are not
    /// known.
    Upper { prefix: OverlayPrefix, lowers: Vec<LowerName> },
    /// The layer that makes it of this.
    Between { lower: LowerName },
    /// What this path inside it leads to, under this name alone; through a link that it ends in if that is followed.
    Source { path: Vec<u8>, name: Vec<u8>, follow: bool, directory: bool },
}

impl Packs {
    /// Directories that are held beside the root.
    #[cfg(feature = "helper")]
    pub(crate) fn lowers(&self) -> &[LowerName] {
        match self {
            Packs::Paths(_) | Packs::Source { .. } => &[],
            Packs::Upper { lowers, .. } => lowers,
            Packs::Between { lower } => std::slice::from_ref(lower),
        }
    }
}

/// Everything that the helper is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) options: Options,
    /// Inside the root; empty is the root itself.
    pub(crate) destination: Vec<u8>,
    /// The lower directories in overlay mode, the topmost first: what the mode itself says of them is left out.
    pub(crate) lowers: Vec<LowerName>,
    /// The lower directories are still being made: they are asked for before the first look at them.
    pub(crate) lowers_later: bool,
    /// The helper says when it waits for more of the archive.
    pub(crate) in_step: bool,
    pub(crate) root: Beginning,
    /// Files that are larger than this, or that do not begin as JSON does, are made without their content.
    pub(crate) documents: Option<u64>,
    /// The archive is a file or directory of one name, and the destination says where it goes (rule 24 of packing).
    pub(crate) copy: Option<Content>,
}

/// What of a directory is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// The directory with what is in it.
    With,
    /// What is in it alone.
    Alone,
}

/// A lower directory: the name by which the helper opens it in a mount namespace of its own, and the inode that the
/// parent has opened, which it must then be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LowerName {
    /// Absolute.
    pub(crate) path: PathBuf,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// Why ids could not be mapped.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IdMapFailure {
    pub(crate) operation: crate::report::Operation,
    pub(crate) errno: i32,
}

/// What the helper sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Up {
    /// The helper is in a new user namespace and waits for its maps.
    NeedIdMap,
    /// The helper is inside and confined; the archive is read from here on.
    Started(Box<Confinement>),
    Progress(Progress),
    Listed(Box<Listed>),
    Event(Box<Event>),
    /// The last frame.
    Reply(Box<Reply>),
    /// The helper waits until the lower directories are complete.
    NeedLowers,
    /// The helper has used so many bytes of the archive and waits for more.
    Hungry(u64),
}

/// How it ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// The report without its events: those were sent as they happened.
    pub(crate) report: Report,
    pub(crate) failure: Option<Failure>,
}

/// What one side sends.
pub(crate) trait Message: Serialize + DeserializeOwned {
    const MAGIC: [u8; 4];
    /// The most bytes taken from the socket before other descriptors get their turn.
    const TURN: usize;
    /// The most bytes that one frame may carry.
    const MOST: usize;

    /// What stands in a frame, and how many of its bytes that took.
    fn read(body: &[u8]) -> Result<(Self, usize), DecodeError>;
}

impl Message for Down {
    const MAGIC: [u8; 4] = *b"uirD";
    // A request, usually; each page of more is a fault in a process that lives for a millisecond.
    const TURN: usize = 2 << 10;
    const MOST: usize = MAX_REQUEST;

    fn read(body: &[u8]) -> Result<(Down, usize), DecodeError> {
        decode_from_slice(body, standard().with_limit::<MAX_REQUEST>())
    }
}

impl Message for Up {
    const MAGIC: [u8; 4] = *b"uirU";
    const TURN: usize = 16 << 10;
    const MOST: usize = MAX_FRAME;

    fn read(body: &[u8]) -> Result<(Up, usize), DecodeError> {
        decode_from_slice(body, standard().with_limit::<MAX_FRAME>())
    }
}

/// Why nothing was received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WireError {
    Garbled(Garbled),
    Os(Errno),
}

/// What a look at the socket brought.
#[derive(Debug)]
pub(crate) enum Received<Rx> {
    Message(Rx),
    /// Nothing complete yet.
    Pending,
    /// The peer has closed, between frames.
    Closed,
}

/// One end of the socket: receives `Rx`, sends `Tx`.
pub(crate) struct Channel<Rx, Tx> {
    socket: OwnedFd,
    inbox: Vec<u8>,
    /// Frames that go out with the next one.
    held: Vec<u8>,
    closed: bool,
    types: PhantomData<fn(Tx) -> Rx>,
}

impl<Rx, Tx> AsFd for Channel<Rx, Tx> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<Rx: Message, Tx: Message> Channel<Rx, Tx> {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Channel { socket, inbox: Vec::new(), held: Vec::new(), closed: false, types: PhantomData }
    }

    /// Sends what was held back and one frame, waiting for room.
    pub(crate) fn send(&mut self, message: &Tx) -> Result<(), Errno> {
        self.hold(message);
        self.flush()
    }

    /// Keeps a frame until the next one is sent: each waking of the peer has its price.
    pub(crate) fn hold(&mut self, message: &Tx) {
        encode(message, &mut self.held);
    }

    /// Sends what was held back.
    pub(crate) fn flush(&mut self) -> Result<(), Errno> {
        let frames = std::mem::take(&mut self.held);
        let mut rest = &frames[..];
        while !rest.is_empty() {
            match send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => wait_writable(self.as_fd())?,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Waits for one frame.
    #[cfg_attr(not(feature = "helper"), allow(dead_code))]
    pub(crate) fn receive(&mut self) -> Result<Rx, WireError> {
        loop {
            match self.next().map_err(WireError::Garbled)? {
                Received::Message(message) => return Ok(message),
                Received::Closed => return Err(WireError::Os(Errno::EPIPE)),
                Received::Pending => self.fill(MsgFlags::empty()).map_err(WireError::Os)?,
            }
        }
    }

    /// Takes up to a turn's bytes off the socket, if they are there.
    pub(crate) fn look(&mut self) -> Result<(), Errno> {
        if self.closed { Ok(()) } else { self.fill(MsgFlags::MSG_DONTWAIT) }
    }

    /// Takes one frame of what has been taken off the socket.
    pub(crate) fn next(&mut self) -> Result<Received<Rx>, Garbled> {
        match decode(&mut self.inbox)? {
            Some(message) => Ok(Received::Message(message)),
            None if !self.closed => Ok(Received::Pending),
            None if self.inbox.is_empty() => Ok(Received::Closed),
            None => Err(Garbled::Cut),
        }
    }

    fn fill(&mut self, flags: MsgFlags) -> Result<(), Errno> {
        let there = self.inbox.len();
        self.inbox.resize(there + Rx::TURN, 0);
        let received = recv(self.socket.as_raw_fd(), &mut self.inbox[there..], flags);
        self.inbox.truncate(there + received.unwrap_or(0));
        match received {
            Ok(0) => self.closed = true,
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            // A helper that dies with the request unread resets the connection: that is "closed".
            Err(Errno::ECONNRESET) => self.closed = true,
            Err(e) => return Err(e),
        }
        Ok(())
    }
}

fn wait_writable(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    match poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Appends one frame.
fn encode<M: Message>(message: &M, frame: &mut Vec<u8>) {
    // Only a message over the limit fails to encode; an empty body is refused by the peer as content.
    let body = encode_to_vec(message, standard()).unwrap_or_default();
    frame.reserve(HEADER + body.len());
    frame.extend_from_slice(&M::MAGIC);
    frame.extend_from_slice(&VERSION.to_le_bytes());
    frame.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    frame.extend_from_slice(&body);
}

/// The reply of a helper that panicked, as bytes for its last send.
#[cfg(feature = "helper")]
pub(crate) fn frame_of_panic(failure: Failure) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(&Up::Reply(Box::new(Reply { report: Report::default(), failure: Some(failure) })), &mut frame);
    frame
}

/// Takes one whole frame off the front of `inbox`.
fn decode<M: Message>(inbox: &mut Vec<u8>) -> Result<Option<M>, Garbled> {
    let magic = &inbox[..inbox.len().min(4)];
    if !M::MAGIC.starts_with(magic) {
        return Err(Garbled::Magic);
    }
    let Some(&[_, _, _, _, v0, v1, v2, v3, l0, l1, l2, l3]) = inbox.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let version = u32::from_le_bytes([v0, v1, v2, v3]);
    if version != VERSION {
        return Err(Garbled::Version(version));
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if length as usize > M::MOST {
        return Err(Garbled::Length { bytes: length, most: M::MOST });
    }
    let Some(body) = inbox.get(HEADER..HEADER + length as usize) else {
        return Ok(None);
    };
    let (message, used) = M::read(body).map_err(|_| Garbled::Content)?;
    if used != body.len() {
        return Err(Garbled::Content);
    }
    inbox.drain(..HEADER + length as usize);
    Ok(Some(message))
}

/// What `fuzz/` calls: frames in both directions, whole and in pieces, must come to the same messages.
#[cfg(any(fuzzing, all(test, feature = "helper")))]
pub(crate) fn fuzz_frames(data: &[u8]) {
    fn all<M: Message + std::fmt::Debug>(data: &[u8], piece: usize) -> (Vec<String>, Option<Garbled>) {
        let (mut inbox, mut messages) = (Vec::new(), Vec::new());
        for bytes in data.chunks(piece) {
            inbox.extend_from_slice(bytes);
            loop {
                match decode::<M>(&mut inbox) {
                    Ok(Some(message)) => messages.push(format!("{message:?}")),
                    Ok(None) => break,
                    Err(garbled) => return (messages, Some(garbled)),
                }
            }
        }
        (messages, None)
    }
    // Past the magic at once: no fuzzer should have to guess it, nor the length.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes();
    let framed = |magic: [u8; 4]| [&magic[..], &VERSION.to_le_bytes(), &length, data].concat();
    for bytes in [framed(Up::MAGIC), data.to_vec()] {
        assert_eq!(all::<Up>(&bytes, usize::MAX), all::<Up>(&bytes, 7));
    }
    assert_eq!(all::<Down>(&framed(Down::MAGIC), usize::MAX), all::<Down>(&framed(Down::MAGIC), 7));
}

#[cfg(test)]
#[path = "../build/shape.rs"]
mod shape;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame() -> Vec<u8> {
        let mut frame = Vec::new();
        encode(&Up::Progress(Progress { bytes_in: 7, ..Progress::default() }), &mut frame);
        frame
    }

    #[test]
    fn a_frame_comes_back() {
        let mut inbox = frame();
        inbox.extend(frame());
        assert!(matches!(decode::<Up>(&mut inbox), Ok(Some(Up::Progress(p))) if p.bytes_in == 7));
        assert_eq!(inbox, frame());
    }

    /// Written down, so that a change of the encoding is seen and not only the messages' own.
    #[test]
    fn frames_are_these_bytes() {
        fn bytes<M: Message>(message: &M) -> Vec<u8> {
            let mut frame = Vec::new();
            encode(message, &mut frame);
            frame
        }
        let framed = |magic: &[u8; 4], length: u8, body: &[u8]| {
            [&magic[..], &VERSION.to_le_bytes(), &[length, 0, 0, 0], body].concat()
        };
        let progress = Progress { bytes_in: 7, bytes_tar: 300, entries: 70_000 };
        for (frame, magic, body) in [
            (bytes(&Up::NeedIdMap), b"uirU", &[0][..]),
            (bytes(&Up::Progress(progress)), b"uirU", &[2, 7, 251, 44, 1, 252, 112, 17, 1, 0]),
            (bytes(&Up::NeedLowers), b"uirU", &[6]),
            (bytes(&Down::IdMapDone(Ok(()))), b"uirD", &[1, 0]),
            (bytes(&Down::LowersReady), b"uirD", &[2]),
        ] {
            assert_eq!(frame, framed(magic, u8::try_from(body.len()).expect("short"), body));
        }
    }

    #[test]
    fn half_a_frame_is_awaited() {
        let whole = frame();
        for end in 0..whole.len() {
            assert!(matches!(decode::<Up>(&mut whole[..end].to_vec()), Ok(None)), "{end}");
        }
    }

    #[test]
    fn what_is_held_goes_out_with_the_next() {
        let (one, other) = std::os::unix::net::UnixStream::pair().expect("sockets");
        let mut sender = Channel::<Down, Up>::new(one.into());
        let mut receiver = Channel::<Up, Down>::new(other.into());
        let progress = |bytes_in| Up::Progress(Progress { bytes_in, ..Progress::default() });
        let mut heard = || receiver.look().map(|()| receiver.next());
        sender.hold(&progress(1));
        assert!(matches!(heard(), Ok(Ok(Received::Pending))));
        sender.send(&progress(2)).expect("room");
        for expected in [1, 2] {
            assert!(matches!(heard(), Ok(Ok(Received::Message(Up::Progress(p)))) if p.bytes_in == expected));
        }
        sender.flush().expect("nothing to send");
        assert!(matches!(heard(), Ok(Ok(Received::Pending))));
    }

    /// In a source of its own: whatever is sent, and in whichever file it is.
    #[test]
    fn the_version_is_another_when_anything_that_is_sent_is() {
        let src = std::env::temp_dir().join(format!("untar-in-root-shape-{}", std::process::id()));
        std::fs::create_dir_all(src.join("room")).expect("scratch");
        let version = |name: &str, text: &str| {
            std::fs::write(src.join(name), text).expect("scratch");
            shape::version(&src, "1.0.0").expect("readable")
        };
        let message = "#[derive(Serialize)]\nstruct Sent {\n    a: u32,\n    b: u32,\n}\n";
        let first = version("sent.rs", message);
        let same = message.replace("a: u32", "/// Words.\n        a: u32 // and more");
        let same = same.replace("// and more,", ", // and more");
        assert_eq!(version("sent.rs", &same), first, "words and blanks");
        assert_eq!(version("room/other.rs", "struct Kept(u8);\n"), first, "what is not sent");
        for (was, is) in [("a: u32", "a: u64"), ("a: u32,\n    b: u32", "b: u32,\n    a: u32"), ("Sent", "Set")] {
            assert_ne!(version("sent.rs", &message.replace(was, is)), first, "{is}");
        }
        assert_eq!(version("sent.rs", message), first);
        assert_ne!(shape::version(&src, "1.0.1").expect("readable"), first, "the crate's version");
        assert_ne!(version("room/new.rs", "#[derive(Serialize)] enum New { A }"), first, "a new file");
        std::fs::remove_dir_all(src).expect("scratch");
        let ours = shape::version("src".as_ref(), env!("CARGO_PKG_VERSION"));
        assert_eq!(ours.expect("the source"), VERSION);
    }

    #[test]
    fn an_echo_is_not_a_helper() {
        assert_eq!(decode::<Down>(&mut frame()).unwrap_err(), Garbled::Magic);
    }

    #[test]
    fn lies_are_refused_before_anything_is_allocated() {
        let altered = |at: usize, byte: u8| {
            let mut bytes = frame();
            bytes[at] = byte;
            decode::<Up>(&mut bytes).unwrap_err()
        };
        let other = VERSION ^ 0xff;
        assert_eq!(altered(4, other.to_le_bytes()[0]), Garbled::Version(other));
        assert!(matches!(altered(11, 255), Garbled::Length { .. }));
        assert_eq!(altered(12, 200), Garbled::Content);
        let mut long = frame();
        long[8] += 1;
        long.push(0);
        assert_eq!(decode::<Up>(&mut long).unwrap_err(), Garbled::Content);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes: Vec<u8>) {
            let _ = decode::<Up>(&mut bytes);
            let mut framed = frame()[..8].to_vec();
            framed.extend((bytes.len() as u32).to_le_bytes());
            framed.extend(&bytes);
            let _ = decode::<Up>(&mut framed);
        }
    }
}
