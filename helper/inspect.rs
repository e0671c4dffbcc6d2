//! `untar-in-root inspect`: what is in an image, as text and as JSON.

mod described;

use crate::args::Inspect;
use crate::exit::{self, Exit};
use crate::json;
use crate::progress::bytes;
use crate::run::ended;
use crate::screen::Screen;
use crate::signals::Signals;
use crate::trouble::Trouble;
use described::{Budget, Described};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use untar_in_root::image::{Image, Layer, LeftOut, Opener, Platform, Why};
use untar_in_root::{Canceller, Escaped, Program};

pub(crate) fn run(args: &Inspect) -> Exit {
    let mut screen = Screen::new();
    let canceller = Canceller::default();
    let caught = match Signals::block() {
        Ok(signals) => signals.patient().watch(canceller.clone(), || ()),
        Err(errno) => return fail(&mut screen, args, &Trouble::Signals(errno.into())),
    };
    let found = look(args, canceller);
    if let Some(signal) = ended(&caught, &found) {
        return Exit::Signal(signal);
    }
    match found {
        Ok((images, left_out)) => {
            let left_out: Vec<&LeftOut> = images.iter().flat_map(Image::passed_over).chain(&left_out).collect();
            show(&mut screen, args, &images, &left_out)
        }
        Err(trouble) => fail(&mut screen, args, &trouble.of("inspect")),
    }
}

fn look(args: &Inspect, canceller: Canceller) -> Result<(Vec<Image>, Vec<LeftOut>), Trouble> {
    let source = args.source();
    let one = source.reference.is_some() || args.platform.is_some();
    let mut opener = Opener::new(source).program(Program::this()?).cancelled_by(canceller).documents_only();
    if let Some(dir) = &args.staging {
        opener = opener.staging_in(dir);
    }
    if let Some(platform) = &args.platform {
        opener = opener.platform(platform.clone());
    }
    if one {
        return Ok((vec![opener.open()?], Vec::new()));
    }
    let contents = opener.contents()?;
    Ok((contents.images, contents.left_out))
}

fn show(screen: &mut Screen, args: &Inspect, images: &[Image], left_out: &[&LeftOut]) -> Exit {
    if args.json {
        screen.print(&json::line(Inspected { images, left_out }));
    } else {
        let budget = Budget::default();
        for (at, image) in images.iter().enumerate() {
            if at > 0 {
                screen.print(&"");
            }
            let described = budget.describe(image);
            lines(image).iter().chain(&described.lines(image.layers().len())).for_each(|line| {
                screen.print(line);
            });
        }
        if images.is_empty() && left_out.is_empty() {
            screen.print(&"there is no image in it");
        }
        for (at, one) in left_out.iter().enumerate() {
            if at == 0 && !images.is_empty() {
                screen.print(&"");
            }
            screen.print(&passed_over(one));
        }
    }
    match screen.finish() {
        Ok(()) => Exit::Code(exit::DONE),
        Err(error) => {
            let trouble = Trouble::Output(error);
            if !trouble.is_quiet() {
                screen.say(&trouble);
            }
            Exit::Code(trouble.exit())
        }
    }
}

/// The one object of a success, made image by image: a thousand of them would take ten times what the library keeps.
struct Inspected<'a> {
    images: &'a [Image],
    left_out: &'a [&'a LeftOut],
}

impl Serialize for Inspected<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let budget = Budget::default();
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("error", &Value::Null)?;
        map.serialize_entry("exit", &exit::DONE)?;
        map.serialize_entry("images", &Each(self.images, |image: &Image| object(image, &budget.describe(image))))?;
        map.serialize_entry("left_out", &Each(self.left_out, |one: &&LeftOut| reason(one)))?;
        map.serialize_entry("ok", &true)?;
        map.end()
    }
}

/// A list that is made one by one.
struct Each<'a, T, F>(&'a [T], F);

impl<T, F: Fn(&T) -> Value> Serialize for Each<'_, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(&self.1))
    }
}

fn fail(screen: &mut Screen, args: &Inspect, trouble: &Trouble) -> Exit {
    screen.say(trouble);
    if args.json {
        screen.print(&json::failed(trouble));
        let _ = screen.finish();
    }
    Exit::Code(trouble.exit())
}

fn lines(image: &Image) -> Vec<String> {
    let escaped = |name: &String| Escaped(name.as_bytes()).to_string();
    let names: Vec<String> = image.names().iter().map(escaped).collect();
    let total: u64 = image.layers().iter().map(Layer::size).sum();
    let mut lines = Vec::new();
    if !names.is_empty() {
        lines.push(format!("name      {}", names.join(", ")));
    }
    lines.push(format!("platform  {}", image.platform()));
    lines.extend(image.digest().map(|digest| format!("manifest  {digest}")));
    lines.push(format!("id        {}", image.id()));
    lines.push(format!("layers    {}, {}", image.layers().len(), bytes(total as f64)));
    for (at, layer) in image.layers().iter().enumerate() {
        let media_type = layer.media_type().unwrap_or("tar in a docker archive");
        let size = bytes(layer.size() as f64);
        lines.push(format!("{:>6}    {size:>10}  {}", at + 1, Escaped(media_type.as_bytes())));
        lines.extend(layer.digest().map(|digest| format!("          digest   {digest}")));
        lines.push(format!("          diff ID  {}", layer.diff_id()));
        lines.extend(layer.refusal().map(|refusal| format!("          {refusal}")));
    }
    lines
}

/// What is listed and could not be opened, on one line.
fn passed_over(one: &LeftOut) -> String {
    let (what, why) = why(one);
    // An error is escaped already.
    let why = if matches!(one.why, Why::Beside(_)) { Escaped(why.as_bytes()).to_string() } else { why };
    format!("{what:<9} {}: {why}", who(one))
}

/// The same of what an image was chosen in place of.
pub(crate) fn instead_of(one: &LeftOut) -> String {
    let (what, why) = why(one);
    format!("note: another image is taken in place of {}, which is {what}: {why}", who(one))
}

fn who(one: &LeftOut) -> String {
    let names = one.names.iter().map(|name| Escaped(name.as_bytes()).to_string());
    let mut who: Vec<String> = names.chain(one.digest.map(|digest| digest.to_string())).collect();
    if who.is_empty() {
        who.push(format!("@{}", one.line));
    }
    who.extend(one.platform.as_ref().map(|platform| format!("({platform})")));
    who.join(" ")
}

fn why(one: &LeftOut) -> (&'static str, String) {
    match &one.why {
        Why::Absent(error) => ("absent", error.to_string()),
        Why::Broken(error) => ("broken", error.to_string()),
        Why::Beside(what) => ("no image", what.clone()),
        _ => ("left out", String::new()),
    }
}

pub(crate) fn reason(one: &LeftOut) -> Value {
    let (what, why) = why(one);
    json!({
        "line": one.line,
        "names": one.names,
        "platform": one.platform.as_ref().map(platform),
        "manifest_digest": one.digest.map(|digest| digest.to_string()),
        "why": what.replace(' ', "_"),
        "message": why,
    })
}

fn platform(platform: &Platform) -> Value {
    json!({ "os": platform.os, "architecture": platform.architecture, "variant": platform.variant,
        "os_features": platform.features })
}

fn object(image: &Image, described: &Described) -> Value {
    let chain = image.chain_ids();
    let layers = image.layers().iter().zip(&chain).map(|(layer, chain)| {
        json!({
            "digest": layer.digest().map(|digest| digest.to_string()),
            "diff_id": layer.diff_id().to_string(),
            "chain_id": chain.to_string(),
            "size": layer.size(),
            "media_type": layer.media_type(),
            "refusal": layer.refusal().map(ToString::to_string),
        })
    });
    json!({
        "names": image.names(),
        "platform": platform(image.platform()),
        "manifest_digest": image.digest().map(|digest| digest.to_string()),
        "id": image.id().to_string(),
        "size": image.layers().iter().map(Layer::size).sum::<u64>(),
        "layers": layers.collect::<Vec<_>>(),
        "configuration": described.value(),
        "configuration_error": described.error(),
    })
}
