//! Prints docs/reference/conditions.md.

fn main() {
    print!("{}", ephemeron::resource::reference::conditions());
}
