//! `untar-in-root diff`: open, pack, show, tell how it ended.

use crate::args::{Diff as Args, Layer};
use crate::exit::Exit;
use crate::pack::{Run, archive};
use crate::patterns;
use crate::trouble::Trouble;
use untar_in_root::{Diff, Error, Lower, PackOptions, Program};

/// Runs, shows, tells how to leave.
pub(crate) fn run(args: &Args) -> Exit {
    let options = args.options();
    let (ignore, limit) = (args.patterns.dockerignore.as_deref(), options.jail.limits.timeout);
    archive(&Run { command: "diff", written: &args.written, shown: &args.shown, ignore, limit }, || {
        described(args, options)
    })
}

fn described(args: &Args, mut options: PackOptions) -> Result<Diff, Trouble> {
    patterns::add_packing(&args.patterns, &mut options)?;
    let diff = match args.layer() {
        Layer::Between { lower, upper } => Diff::between(lower, upper)?,
        Layer::Upper { dir, prefix } => {
            let lowers = args.lower.iter().map(Lower::open).collect::<Result<Vec<_>, Error>>()?;
            Diff::upper(dir)?.lowers(lowers).prefix(prefix)
        }
    };
    Ok(diff.program(Program::this()?).options(options))
}
