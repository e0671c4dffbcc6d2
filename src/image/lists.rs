//! How an archive describes what is in it: by an index, by `manifest.json`, or by both.

use super::catalogue::Catalogue;
use super::contents::{Contents, Why};
use super::documents::{Documents, MANIFEST, Naming};
use super::problem::Problem;
use super::{Files, Form, Image, MAX_DOCUMENTS, Platform, digest, docker, oci, select};
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::purse::Purse;
use std::sync::Arc;

/// A description: the documents, read in one of three ways.
struct Description {
    documents: Documents,
    find: fn(&Documents) -> Result<Catalogue, Error>,
}

/// Those that are there, the one that says more first.
fn descriptions(files: &Arc<Files>, form: Form) -> Result<Vec<Description>, Error> {
    let purse = Purse::new(MAX_DOCUMENTS);
    let new = |naming, find| Description { documents: Documents::new(Arc::clone(files), purse.clone(), naming), find };
    let beneath = &files.beneath;
    let mut found = Vec::new();
    if matches!(form, Form::Detect | Form::OciLayout | Form::OciArchive) && oci::is_layout(beneath)? {
        found.push(new(Naming::Layout, oci::find));
    }
    if matches!(form, Form::Detect | Form::DockerArchive | Form::Dir) && beneath.has(MANIFEST)? {
        let layout = new(Naming::Layout, docker::find);
        let bytes = layout.documents.read(MANIFEST).unwrap_or_default();
        let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
        let is_dir = form == Form::Dir || (form == Form::Detect && found.is_empty() && is_object);
        found.push(if is_dir { new(Naming::Flat(digest::of(&bytes)), oci::find_dir) } else { layout });
    }
    match found.is_empty() {
        true => Err(Problem::NotAnImage.at(beneath.name())),
        false => Ok(found),
    }
}

/// The image that is meant.
pub(super) fn one(
    files: &Arc<Files>,
    form: Form,
    reference: Option<&str>,
    wanted: Option<&Platform>,
) -> Result<Image, Error> {
    let choose = |it: &Description| select::one(&it.documents, &(it.find)(&it.documents)?, reference, wanted);
    first(&descriptions(files, form)?, choose)
}

/// All images.
pub(super) fn all(files: &Arc<Files>, form: Form) -> Result<Contents, Error> {
    let descriptions = descriptions(files, form)?;
    let look = |it: &Description| sound(select::all(&it.documents, &(it.find)(&it.documents)?)?);
    let used = |it: &Description| match look(it)? {
        all if all.images.is_empty() => Err(Problem::Empty.at(files.beneath.name())),
        all => Ok(all),
    };
    match first(&descriptions, used) {
        // A list of what is not there is an answer, too.
        Err(error) if error.image_problem() == Some(&Problem::Empty) => look(&descriptions[0]),
        result => result,
    }
}

/// What is broken, or not there, is an error if there is nothing else.
fn sound(mut contents: Contents) -> Result<Contents, Error> {
    let broken = contents.left_out.iter().position(|one| matches!(one.why, Why::Broken(_) | Why::Absent(_)));
    match broken.filter(|_| contents.images.is_empty()).map(|at| contents.left_out.swap_remove(at).why) {
        Some(Why::Broken(error) | Why::Absent(error)) => Err(error),
        _ => Ok(contents),
    }
}

/// What the first description that has something usable says. Damage and what nobody writes are no reason to look
/// for another.
fn first<T>(descriptions: &[Description], look: impl Fn(&Description) -> Result<T, Error>) -> Result<T, Error> {
    let [first, others @ ..] = descriptions else { return Err(Error::of(ErrorKind::Image)) };
    let error = match look(first) {
        Err(error) if lacks(&error) => error,
        result => return result,
    };
    match others.iter().map(look).next() {
        // The layout is one, and lacks what is asked for.
        Some(Err(_)) if !has_nothing(&error) => Err(error),
        Some(result) => result,
        None => Err(error),
    }
}

/// The description has nothing that could be used, or not what is asked for.
fn lacks(error: &Error) -> bool {
    match error.image_problem() {
        Some(Problem::NoReference { .. } | Problem::NoPlatform { .. } | Problem::Absent { .. }) => true,
        Some(_) => has_nothing(error),
        None => false,
    }
}

fn has_nothing(error: &Error) -> bool {
    use Problem::{Ambiguous, Leaves, NotAFile};
    error.kind() == ErrorKind::Image
        && !matches!(error.image_problem(), Some(Ambiguous | Leaves | NotAFile | Problem::Absent { .. }))
}
