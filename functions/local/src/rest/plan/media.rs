//! What the answer is made of the rows.

use super::super::{
    refusal::Refusal,
    refuse,
    request::{Request, media::Media},
    schema::{Handler, Name, Schema, Target},
};

/// Who makes the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maker {
    /// A JSON array.
    Array {
        /// Without members that are null.
        stripped: bool,
    },
    /// One JSON object.
    Object {
        /// Without members that are null.
        stripped: bool,
    },
    /// CSV.
    Csv,
    /// A GeoJSON collection.
    GeoJson,
    /// An aggregate or a function of the database.
    Handler {
        /// It.
        by: Handler,
        /// The table whose rows it takes, if not any.
        of: Option<Name>,
    },
    /// There is no body.
    Nothing,
}

/// The first of the accepted media types that can be made.
pub fn negotiate(schema: &Schema, request: &Request, of: &Name, selects_all: bool) -> Result<(Maker, Media), Refusal> {
    let found = request.accept.iter().find_map(|media| make(schema, of, selects_all, media));
    found.ok_or_else(|| {
        let names: Vec<String> = request.accept.iter().map(Media::name).collect();
        refuse::not_acceptable(&names)
    })
}

fn make(schema: &Schema, of: &Name, selects_all: bool, media: &Media) -> Option<(Maker, Media)> {
    match media {
        Media::Object { stripped } => Some((Maker::Object { stripped: *stripped }, media.clone())),
        Media::ArrayStripped => Some((Maker::Array { stripped: true }, media.clone())),
        Media::Plan(_) if !schema.settings.plans => None,
        Media::Plan(plan) => {
            let maker = match plan.of {
                Media::Plan(_) => return None,
                ref other => make(schema, of, selects_all, other)?.0,
            };
            Some((maker, media.clone()))
        }
        other => own(schema, of, selects_all, other).or_else(|| built_in(other)),
    }
}

fn own(schema: &Schema, of: &Name, selects_all: bool, media: &Media) -> Option<(Maker, Media)> {
    if schema.handlers.is_empty() {
        return None;
    }
    let name = media.name();
    let made = |handler: &Handler, of: Option<&Name>| {
        (Maker::Handler { by: handler.clone(), of: of.cloned() }, Media::parse(&handler.media))
    };
    // Only whole rows are of the type that a table's own handler takes.
    let of_table = |name: &str| schema.handlers.get(&(Target::Of(of.clone()), name.to_owned())).filter(|_| selects_all);
    if let Some(handler) = of_table("*/*").or_else(|| of_table(&name)) {
        return Some(made(handler, Some(of)));
    }
    schema.handlers.get(&(Target::Any, name)).map(|handler| made(handler, None))
}

fn built_in(media: &Media) -> Option<(Maker, Media)> {
    match media {
        Media::Any | Media::Json => Some((Maker::Array { stripped: false }, Media::Json)),
        Media::Csv => Some((Maker::Csv, Media::Csv)),
        Media::GeoJson => Some((Maker::GeoJson, Media::GeoJson)),
        _ => None,
    }
}
