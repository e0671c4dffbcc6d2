//! `untar-in-root inspect`: what is in an image, as text and as JSON.

mod described;

use crate::args::Inspect;
use crate::exit::{self, Exit};
use crate::json;
use crate::progress::bytes;
use crate::screen::Screen;
use crate::signals::Signals;
use crate::trouble::Trouble;
use described::{Budget, Described};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use untar_in_root::image::{Image, Layer, Opener};
use untar_in_root::{Canceller, Escaped, Program};

pub(crate) fn run(args: &Inspect) -> Exit {
    let mut screen = Screen::new();
    let canceller = Canceller::default();
    let caught = match Signals::block() {
        Ok(signals) => signals.patient().watch(canceller.clone(), || ()),
        Err(errno) => return fail(&mut screen, args, &Trouble::Signals(errno.into())),
    };
    match look(args, canceller) {
        Ok(images) => show(&mut screen, args, &images),
        Err(trouble) => match caught.signal() {
            Some(signal) => Exit::Signal(signal),
            None => fail(&mut screen, args, &trouble.of("inspect")),
        },
    }
}

fn look(args: &Inspect, canceller: Canceller) -> Result<Vec<Image>, Trouble> {
    let source = args.source();
    let one = source.reference.is_some() || args.platform.is_some();
    let mut opener = Opener::new(source).program(Program::this()?).cancelled_by(canceller).documents_only();
    if let Some(dir) = &args.staging {
        opener = opener.staging_in(dir);
    }
    if let Some(platform) = &args.platform {
        opener = opener.platform(platform.clone());
    }
    Ok(if one { vec![opener.open()?] } else { opener.list()? })
}

fn show(screen: &mut Screen, args: &Inspect, images: &[Image]) -> Exit {
    if args.json {
        screen.print(&json::line(Inspected(images)));
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
struct Inspected<'a>(&'a [Image]);

impl Serialize for Inspected<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("error", &Value::Null)?;
        map.serialize_entry("exit", &exit::DONE)?;
        map.serialize_entry("images", &Images(self.0))?;
        map.serialize_entry("ok", &true)?;
        map.end()
    }
}

struct Images<'a>(&'a [Image]);

impl Serialize for Images<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let budget = Budget::default();
        serializer.collect_seq(self.0.iter().map(|image| object(image, &budget.describe(image))))
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
        "platform": { "os": image.platform().os, "architecture": image.platform().architecture,
            "variant": image.platform().variant },
        "manifest_digest": image.digest().map(|digest| digest.to_string()),
        "id": image.id().to_string(),
        "size": image.layers().iter().map(Layer::size).sum::<u64>(),
        "layers": layers.collect::<Vec<_>>(),
        "configuration": described.value(),
        "configuration_error": described.error(),
    })
}
