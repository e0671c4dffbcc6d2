//! Which gRPC code a failure has: whose fault it is, so that people, metrics and clients of the CRI know where to look.
//!
//! containerd repeats nothing, whatever the code. ALREADY_EXISTS is never answered: containerd takes it for success.

use crate::blob::Lacking;
use crate::mounts::Unusable;
use crate::status::Trouble;
use crate::store::Refused;
use nix::libc;
use tonic::Code;
use untar_in_root::{Call, Cause, Damage, Error, ErrorKind, Failure, Limit, Operation, Stage};

/// The codes that this service answers with; for a layer that is made, containerd may have others.
pub(crate) const ALL: [Code; 9] = [
    Code::Cancelled,
    Code::InvalidArgument,
    Code::NotFound,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::Unimplemented,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
];

/// The code, also the label of the metric.
pub(crate) fn of(trouble: &Trouble) -> Code {
    match trouble {
        Trouble::NoDescriptor | Trouble::Mounts(Unusable::Bad(_)) | Trouble::Blob(Lacking::Digest(_)) => {
            Code::InvalidArgument
        }
        Trouble::MediaType(_)
        | Trouble::NotMade(_)
        | Trouble::Mounts(Unusable::NotOurs(_))
        | Trouble::Blob(Lacking::OtherDigest(_))
        | Trouble::InUserNamespace => Code::Unimplemented,
        Trouble::Blob(Lacking::Missing { .. }) => Code::NotFound,
        // Not DEADLINE_EXCEEDED, which containerd takes for its own context's.
        Trouble::Stalled(..) | Trouble::NoTurn(_) => Code::Unavailable,
        Trouble::Blob(Lacking::Size { .. }) => Code::DataLoss,
        Trouble::Blob(Lacking::Io(error)) => error.raw_os_error().map_or(Code::Internal, of_number),
        Trouble::Blob(Lacking::NoFile(_)) | Trouble::Bug => Code::Internal,
        Trouble::Directory(_, error) | Trouble::Apply(error) | Trouble::Make(error) => of_error(error),
        Trouble::Store(refused) => of_store(refused),
    }
}

/// containerd's own code, but for what would be taken for success or send the call to the next differ.
fn of_store(refused: &Refused) -> Code {
    match refused {
        Refused::NoContainerd(..) => Code::Unavailable,
        Refused::OtherBytes(_) => Code::DataLoss,
        Refused::By(_, status) => match status.code() {
            Code::Ok | Code::AlreadyExists | Code::Unimplemented => Code::Internal,
            Code::Unknown | Code::Internal if is_full(status.message()) => Code::ResourceExhausted,
            Code::Unknown => Code::Internal,
            code => code,
        },
    }
}

/// Go's words for ENOSPC and EDQUOT, for which containerd has no code.
fn is_full(words: &str) -> bool {
    ["no space left on device", "disk quota exceeded"].iter().any(|full| words.ends_with(full))
}

fn of_error(error: &Error) -> Code {
    match (error.failure(), error.kind(), error.raw_os_error()) {
        (Some(failure), ..) => of_failure(failure),
        (None, ErrorKind::Digest, _) => Code::DataLoss,
        (None, ErrorKind::Cancelled, _) => Code::Cancelled,
        // A directory that the mounts name.
        (None, ErrorKind::Root, Some(libc::ENOENT)) => Code::NotFound,
        (None, ErrorKind::Root, Some(libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG)) => Code::InvalidArgument,
        // fork(2): as many processes as there may be.
        (None, ErrorKind::Helper, Some(libc::EAGAIN)) => Code::ResourceExhausted,
        (None, _, errno) => errno.map_or(Code::Internal, of_number),
    }
}

fn of_failure(failure: &Failure) -> Code {
    match (&failure.cause, failure.stage) {
        // It wants more memory than any layer is given.
        (Cause::Compressed { what: Damage::Memory, .. }, _) => Code::FailedPrecondition,
        (Cause::Malformed { .. } | Cause::Compressed { .. } | Cause::NotTar { .. } | Cause::Empty, _) => Code::DataLoss,
        // What this machine may spend on it, and not what is in it.
        (Cause::Limit { limit: Limit::Timeout | Limit::Memory, .. }, _) => Code::ResourceExhausted,
        (Cause::Limit { .. } | Cause::Refused(_) | Cause::PathEscapes | Cause::LinkEscapes, _) => {
            Code::FailedPrecondition
        }
        (
            Cause::LinkTargetMissing { .. } | Cause::CrossesMount | Cause::MountPoint { .. } | Cause::Attribute { .. },
            _,
        ) => Code::FailedPrecondition,
        // What is packed into a layer that nobody could apply, or that is not at rest.
        (Cause::Source(_) | Cause::ReservedName | Cause::OverlayMark { .. } | Cause::SameName { .. }, _) => {
            Code::FailedPrecondition
        }
        (Cause::Cancelled, _) => Code::Cancelled,
        (Cause::Descriptors { .. } | Cause::NoThread(_), _) => Code::ResourceExhausted,
        (Cause::Os(errno), stage) if is_the_layers(*errno, stage, failure.operation.as_ref()) => {
            Code::FailedPrecondition
        }
        (Cause::Os(errno), _) => of_number(*errno),
        _ => Code::Internal,
    }
}

/// What only names, owners, sizes and attributes that the layer has chosen lead to. Directories have theirs set as they
/// are left, the last ones at the end.
fn is_the_layers(errno: i32, stage: Stage, operation: Option<&Operation>) -> bool {
    use libc::{E2BIG, EACCES, EFBIG, EILSEQ, EINVAL, ELOOP, EMLINK, ENAMETOOLONG, ENOTDIR, EOVERFLOW, ERANGE};
    let of_the_call: &[i32] = match operation.map(|operation| operation.call) {
        // EACCES: a default ACL on what is no directory. EPERM would be the service's lack of a capability.
        Some(Call::Fsetxattr) => &[E2BIG, EACCES, EINVAL, ERANGE],
        Some(Call::Fchown | Call::Fchownat) => &[EINVAL, EOVERFLOW],
        Some(Call::Write | Call::Pwrite64 | Call::Ftruncate) => &[EFBIG],
        _ => &[],
    };
    match stage {
        Stage::Apply if [E2BIG, ENOTDIR, ELOOP, ENAMETOOLONG, EMLINK, EILSEQ].contains(&errno) => true,
        Stage::Apply | Stage::Finish => of_the_call.contains(&errno),
        _ => false,
    }
}

fn of_number(errno: i32) -> Code {
    use libc::{EAGAIN, EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC};
    // EAGAIN: no process or thread is to be had.
    if [ENOSPC, EDQUOT, EAGAIN, ENOMEM, EMFILE, ENFILE].contains(&errno) {
        Code::ResourceExhausted
    } else {
        Code::Internal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status;

    /// As the helper sends it.
    fn failure(stage: &str, cause: &str) -> Failure {
        toml::from_str(&format!("stage = '{stage}'\ncause = {cause}")).expect("a failure")
    }

    const ALL: [&str; 8] = ["Request", "Enter", "Confine", "Read", "Decode", "Parse", "Apply", "Finish"];

    #[test]
    fn each_stage_and_cause_has_a_code_that_says_whose_fault_it_is() {
        let cases: [(&[&str], &str, Code); 30] = [
            (&ALL, "{ Malformed = { what = 'Checksum', offset = 0 } }", Code::DataLoss),
            (&ALL, "{ Compressed = { format = 'Gzip', what = 'Corrupt', offset = 0 } }", Code::DataLoss),
            (&ALL, "{ Compressed = { format = 'Zstd', what = 'Memory', offset = 0 } }", Code::FailedPrecondition),
            (&ALL, "{ Limit = { limit = 'Entries', value = 1 } }", Code::FailedPrecondition),
            (&ALL, "{ Limit = { limit = 'Timeout', value = 1 } }", Code::ResourceExhausted),
            (&ALL, "{ Limit = { limit = 'Memory', value = 1 } }", Code::ResourceExhausted),
            (&ALL, "{ Refused = 'ForgedWhiteout' }", Code::FailedPrecondition),
            (&ALL, "'PathEscapes'", Code::FailedPrecondition),
            (&ALL, "'LinkEscapes'", Code::FailedPrecondition),
            (&ALL, "'CrossesMount'", Code::FailedPrecondition),
            (&ALL, "{ MountPoint = { directory = false } }", Code::FailedPrecondition),
            (&ALL, "{ LinkTargetMissing = { target = [120] } }", Code::FailedPrecondition),
            (&ALL, "{ Attribute = { name = [120], errno = 1 } }", Code::FailedPrecondition),
            (&ALL, "'Cancelled'", Code::Cancelled),
            (&ALL, "{ NotTar = { looks_like = 'Zip', begins = [80, 75] } }", Code::DataLoss),
            (&ALL, "'Empty'", Code::DataLoss),
            (&ALL, "{ Os = 11 }", Code::ResourceExhausted),
            (&ALL, "{ Descriptors = { limit = 9, used = 9 } }", Code::ResourceExhausted),
            (&ALL, "{ Os = 28 }", Code::ResourceExhausted),
            (&ALL, "{ Os = 122 }", Code::ResourceExhausted),
            (&ALL, "{ Os = 5 }", Code::Internal),
            (&ALL, "{ Os = 1 }", Code::Internal),
            (&["Apply"], "{ Os = 20 }", Code::FailedPrecondition),
            (&["Apply"], "{ Os = 7 }", Code::FailedPrecondition),
            (&["Enter", "Read", "Finish"], "{ Os = 20 }", Code::Internal),
            (&ALL, "{ Exchanged = { name = [120] } }", Code::Internal),
            (&ALL, "{ Pattern = { pattern = '[', what = 'UnclosedClass' } }", Code::Internal),
            (&ALL, "{ Panic = { message = 'x' } }", Code::Internal),
            (&ALL, "{ LowersNotHeld = 1 }", Code::Internal),
            (&ALL, "{ NotCovered = 1 }", Code::Internal),
        ];
        for (stages, cause, code) in cases {
            for stage in stages {
                assert_eq!(of_failure(&failure(stage, cause)), code, "{stage} {cause}");
            }
        }
    }

    /// A number means one thing of one call and another of the next.
    #[test]
    fn what_a_layer_asks_of_the_kernel_in_vain_is_the_layers_fault_and_what_the_service_may_not_do_is_ours() {
        use libc::{E2BIG, EACCES, EFBIG, EILSEQ, EINVAL, EIO, ENOSPC, EOVERFLOW, EPERM, ERANGE};
        let layers = Code::FailedPrecondition;
        let cases = [
            ("Fsetxattr", EACCES, layers),
            ("Fsetxattr", EINVAL, layers),
            ("Fsetxattr", E2BIG, layers),
            ("Fsetxattr", ERANGE, layers),
            ("Fsetxattr", EPERM, Code::Internal),
            ("Fsetxattr", ENOSPC, Code::ResourceExhausted),
            ("Fchown", EINVAL, layers),
            ("Fchownat", EOVERFLOW, layers),
            ("Fchown", EPERM, Code::Internal),
            ("Fchmod", EPERM, Code::Internal),
            ("Pwrite64", EFBIG, layers),
            ("Write", EFBIG, layers),
            ("Ftruncate", EFBIG, layers),
            ("Write", EIO, Code::Internal),
            ("Openat", EACCES, Code::Internal),
            ("Utimensat", EINVAL, Code::Internal),
        ];
        for (call, errno, code) in cases {
            for stage in ["Apply", "Finish"] {
                assert_eq!(of_failure(&of_call(stage, call, errno)), code, "{stage} {call} {errno}");
            }
            let outside = of_failure(&of_call("Enter", call, errno));
            assert_ne!(outside, layers, "nothing of the layer's is asked for there: {call} {errno}");
        }
        assert_eq!(of_failure(&of_call("Apply", "Openat", EILSEQ)), layers);
    }

    fn of_call(stage: &str, call: &str, errno: i32) -> Failure {
        let operation = format!("{{ call = '{call}', on = 'Nothing', rest = '', purpose = 'Usual' }}");
        failure(stage, &format!("{{ Os = {errno} }}\noperation = {operation}"))
    }

    #[test]
    fn what_fails_outside_the_snapshot_is_told_without_names() {
        let call =
            "{ call = 'Openat', on = { Name = { dir = 'Cwd', name = [47, 118] } }, rest = '', purpose = 'Usual' }";
        let entering = failure("Enter", &format!("{{ Os = 13 }}\noperation = {call}"));
        assert!(entering.to_string().contains("/v"), "{entering}");
        let text = status::of_failure(&entering);
        assert!(text.contains("Permission denied") && !text.contains('/'), "{text}");
        assert!(status::of_failure(&failure("Apply", "'PathEscapes'")).contains("climbs"));
    }
}
