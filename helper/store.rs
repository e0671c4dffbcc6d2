//! `untar-in-root store`: list, forget, gc, verify.

use crate::args::{Forget, Store, StoreArgs, StoreCommand};
use crate::exit::{self, Exit};
use crate::json;
use crate::screen::Screen;
use crate::trouble::Trouble;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;
use untar_in_root::image::Store as Layers;
use untar_in_root::{Escaped, Program};

/// What is shown, and how to leave.
struct Done {
    lines: Vec<String>,
    value: Value,
    code: u8,
}

pub(crate) fn run(args: &Store) -> Exit {
    let (of, result) = match &args.command {
        StoreCommand::List(args) => (args, list(args)),
        StoreCommand::Forget(args) => (&args.store, forget(args)),
        StoreCommand::Gc(args) => (args, gc(args)),
        StoreCommand::Verify(args) => (args, verify(args)),
    };
    let mut screen = Screen::new();
    let code = match result {
        Ok(done) if of.json => {
            screen.print(&json::line(&done.value));
            done.code
        }
        Ok(done) => {
            for line in &done.lines {
                screen.print(line);
            }
            done.code
        }
        Err(trouble) => {
            let trouble = trouble.of("store");
            screen.say(&trouble);
            if of.json {
                screen.print(&json::failed(&trouble));
            }
            trouble.exit()
        }
    };
    match screen.finish() {
        Err(error) if code == exit::DONE => Exit::Code(Trouble::Output(error).exit()),
        _ => Exit::Code(code),
    }
}

fn list(args: &StoreArgs) -> Result<Done, Trouble> {
    let images = Layers::open(&args.dir)?.images()?;
    let lines = images.iter().map(|name| Escaped(name.as_bytes()).to_string()).collect();
    Ok(Done { lines, value: json!({ "ok": true, "exit": 0, "error": null, "images": images }), code: exit::DONE })
}

fn forget(args: &Forget) -> Result<Done, Trouble> {
    let store = Layers::open(&args.store.dir)?;
    let (mut forgotten, mut unknown) = (Vec::new(), Vec::new());
    for name in &args.names {
        if store.forget(name)? { &mut forgotten } else { &mut unknown }.push(name.as_str());
    }
    let code = if unknown.is_empty() { exit::DONE } else { exit::ARCHIVE };
    let lines = unknown.iter().map(|name| format!("no image {:?} in this store", Escaped(name.as_bytes()))).collect();
    let value =
        json!({ "ok": unknown.is_empty(), "exit": code, "error": null, "forgotten": forgotten, "unknown": unknown });
    Ok(Done { lines, value, code })
}

fn gc(args: &StoreArgs) -> Result<Done, Trouble> {
    let removed = Layers::open(&args.dir)?.gc(Some(Program::this()?))?;
    let lines: Vec<String> = removed.layers.iter().map(|layer| format!("removed {layer}")).collect();
    let layers: Vec<String> = removed.layers.iter().map(ToString::to_string).collect();
    Ok(Done { lines, value: json!({ "ok": true, "exit": 0, "error": null, "removed": layers }), code: exit::DONE })
}

fn verify(args: &StoreArgs) -> Result<Done, Trouble> {
    let verified = Layers::open(&args.dir)?.verify()?;
    let (layers, differences) = (verified.layers, verified.differences);
    let mut lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    let code = if lines.is_empty() { exit::DONE } else { exit::ARCHIVE };
    let advice = differences.iter().any(|one| one.damaged().is_some()).then(|| again(args));
    let value = json!({ "ok": lines.is_empty(), "exit": code, "error": null, "layers": layers, "differences": lines,
        "advice": advice });
    lines.extend(advice);
    lines.push(format!("{layers} layers, {} differences", differences.len()));
    Ok(Done { lines, value, code })
}

/// What to do about damaged layers.
fn again(args: &StoreArgs) -> String {
    let store = Escaped(args.dir.as_os_str().as_bytes());
    format!(
        "damaged layers are handed out no more: `untar-in-root image SOURCE --store {store}` makes those again that the \
         image needs; what is mounted keeps the damaged ones, which `untar-in-root store gc {store}` then removes"
    )
}
