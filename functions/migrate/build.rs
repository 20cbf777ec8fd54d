//! Migrations, platform files and seed are compiled in: a new file among them is a change of this crate.

fn main() {
    for folder in ["migrations", "sql/platform", "seed"] {
        println!("cargo::rerun-if-changed=../../{folder}");
    }
}
