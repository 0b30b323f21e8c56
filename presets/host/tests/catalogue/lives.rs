//! The lives of files: dropped in, replaced, broken, repaired, deleted.

use std::{fs, os::unix::fs::symlink};

use ephemeron_preset_host::{
    catalogue::{Absent, Change, RenderError, Rendering, State},
    digest::Digest,
    document::Context,
};
use serde_json::json;

use crate::shop::{Shop, folders, half, named, preset, put, soon, waiting_compiler};

crate::tests!(
    a_file_is_dropped_in_replaced_broken_repaired_and_deleted,
    what_is_called_ends_on_the_version_it_began_with,
    a_file_that_is_copied_slowly_is_served_once_it_is_whole,
    a_mount_that_is_swapped_serves_the_new_files,
    nothing_is_refused_before_all_was_looked_at,
    a_folder_may_come_and_go,
    a_folder_that_cannot_be_read_retires_nothing,
);

fn a_file_is_dropped_in_replaced_broken_repaired_and_deleted() {
    let shop = Shop::open(folders::<1>());
    shop.settle();
    assert_eq!(shop.absent("web"), "there is no preset web");
    put(shop.folder(0), "web", &preset("web", 1));
    shop.served("web", 1);
    assert_eq!(shop.port("web"), 1);

    put(shop.folder(0), "web", &preset("web", 2));
    let digest = Digest::of(&preset("web", 1));
    let replaced = shop.until(|change| match change {
        Change::Served { instead_of, .. } => Some(*instead_of),
        _ => None,
    });
    assert_eq!(replaced, Some(digest));
    assert_eq!(shop.port("web"), 2);

    for (bad, why) in [
        (half("web"), "cannot be used"),
        (b"no WebAssembly".to_vec(), "not WebAssembly"),
        (preset("other", 3), "it calls itself other, and its file is web.wasm"),
    ] {
        put(shop.folder(0), "web", &bad);
        let (reason, is_served) = shop.failed("web");
        assert!(reason.contains(why) && is_served, "{reason}");
        assert_eq!(shop.port("web"), 2);
        let entry = shop.catalogue.list().remove(0);
        assert_eq!(
            (entry.state, entry.trouble.map(|trouble| trouble.reason)),
            (State::Serving, Some(reason))
        );
    }

    // The good one is put back: there is nothing new to serve, but nothing wrong any more.
    put(shop.folder(0), "web", &preset("web", 2));
    shop.mended("web");
    assert!(shop.catalogue.list().iter().all(|entry| entry.trouble.is_none()));
    put(shop.folder(0), "web", &preset("web", 4));
    shop.served("web", 4);

    put(shop.folder(0), "other", &preset("other", 1));
    shop.served("other", 1);
    fs::remove_file(shop.path("web")).expect("it is deleted");
    shop.retired("web");
    assert_eq!(shop.absent("web"), "there is no preset web; there are: other");

    // One that was never good is deleted: nothing is wrong any more, and who waits is told so.
    put(shop.folder(0), "web", b"no WebAssembly");
    assert!(!shop.failed("web").1);
    fs::remove_file(shop.path("web")).expect("it is deleted");
    shop.mended("web");
    assert_eq!(shop.absent("web"), "there is no preset web; there are: other");
}

fn port(
    call: impl Future<Output = Result<Rendering, RenderError>> + Send + 'static,
) -> Result<u16, RenderError> {
    soon(call).map(|rendering| rendering.port)
}

fn what_is_called_ends_on_the_version_it_began_with() {
    let [folder] = folders();
    put(folder.path(), "web", &preset("web", 1));
    let shop = Shop::open([folder]);
    shop.served("web", 1);
    let call = || shop.catalogue.render("web", &json!({}), &Context::example());
    let (old, preset_of_old) = (call(), shop.catalogue.get("web").expect("it is served"));
    put(shop.folder(0), "web", &preset("web", 2));
    shop.served("web", 2);
    assert_eq!((port(old).expect("an answer"), port(call()).expect("an answer")), (1, 2));
    assert_eq!(preset_of_old.description.version, "1");

    // Truncated in place, as by a copy that was cut off; then deleted.
    let old = call();
    fs::File::options()
        .write(true)
        .open(shop.path("web"))
        .and_then(|file| file.set_len(100))
        .expect("it is cut");
    assert!(shop.failed("web").1);
    assert_eq!((port(old).expect("an answer"), port(call()).expect("an answer")), (2, 2));
    let old = call();
    fs::remove_file(shop.path("web")).expect("it is deleted");
    shop.retired("web");
    assert_eq!(port(old).expect("an answer"), 2);
    assert!(port(call()).is_err());
}

fn a_file_that_is_copied_slowly_is_served_once_it_is_whole() {
    use std::io::Write;
    let shop = Shop::open(folders::<1>());
    shop.settle();
    let bytes = preset("web", 1);
    let (first, rest) = bytes.split_at(bytes.len() / 3);
    let mut file = fs::File::create(shop.path("web")).expect("a file");
    file.write_all(first).expect("the first part");
    // It is looked at whenever something happens beside it.
    put(shop.folder(0), "other", &preset("other", 1));
    shop.served("other", 1);
    let absent = shop.catalogue.get("web").expect_err("it is not whole");
    assert!(matches!(absent, Absent::Incompatible { .. } | Absent::NotYet(_)), "{absent}");
    file.write_all(rest).expect("the rest");
    drop(file);
    shop.served("web", 1);
}

fn a_mount_that_is_swapped_serves_the_new_files() {
    // As the kubelet does it with a ConfigMap.
    let [folder] = folders();
    let place = folder.path().to_owned();
    let swap = |number| {
        let path = place.join(format!("..version_{number}"));
        fs::create_dir(&path).expect("a folder");
        put(&path, "web", &preset("web", number));
        symlink(path.file_name().expect("a name"), place.join("..data_tmp")).expect("a link");
        fs::rename(place.join("..data_tmp"), place.join("..data")).expect("it is swapped");
        let _ = fs::remove_dir_all(place.join(format!("..version_{}", number - 1)));
    };
    swap(1);
    symlink("..data/web.wasm", place.join("web.wasm")).expect("a link");
    let shop = Shop::open([folder]);
    shop.served("web", 1);
    for number in [2, 3] {
        swap(number);
        shop.served("web", number);
        assert_eq!(shop.port("web"), number);
    }
}

fn nothing_is_refused_before_all_was_looked_at() {
    let [folder, tools] = folders();
    put(folder.path(), "web", &preset("web", 1));
    let (compiler, go) = waiting_compiler(tools.path());
    let shop = Shop::with([folder], |options| options.compiler = Some(compiler));
    assert_eq!(shop.catalogue.get("web").expect_err("not yet"), Absent::NotYet("web".into()));
    assert_eq!(shop.catalogue.get("else").expect_err("not yet"), Absent::NotYet("else".into()));
    assert!(!shop.catalogue.settled());
    fs::write(&go, "").expect("a file");
    shop.settle();
    assert_eq!(shop.port("web"), 1);
    assert!(matches!(shop.catalogue.get("else"), Err(Absent::NotFound { .. })));
}

fn a_folder_may_come_and_go() {
    let [parent] = folders();
    let place = parent.path().join("presets");
    let folder = place.clone();
    let shop = Shop::with([parent], move |options| options.folders = vec![folder]);
    shop.settle();
    let (troubled, trouble) = shop.catalogue.troubles().remove(0);
    assert!(troubled == place && trouble.contains("cannot be read"), "{trouble}");
    fs::create_dir(&place).expect("a folder");
    put(&place, "web", &named("web", 1).bytes());
    shop.served("web", 1);
    assert_eq!(shop.catalogue.troubles(), []);
    fs::remove_dir_all(&place).expect("it is gone");
    shop.retired("web");
}

fn a_folder_that_cannot_be_read_retires_nothing() {
    let [parent] = folders();
    let (place, next) = (parent.path().join("presets"), parent.path().join("next"));
    let (folder, file) = (parent.path().join("folder"), parent.path().join("file"));
    fs::create_dir(&folder).expect("a folder");
    fs::write(&file, "no folder").expect("a file");
    put(&folder, "web", &preset("web", 1));
    symlink(&folder, &place).expect("a link");
    let path = place.clone();
    let shop = Shop::with([parent], |options| options.folders = vec![path]);
    shop.served("web", 1);
    for (target, is_trouble) in [(&file, true), (&folder, false)] {
        symlink(target, &next).expect("a link");
        fs::rename(&next, &place).expect("it is swapped");
        let trouble = shop.until(|change| match change {
            Change::Folder { trouble, .. } => Some(trouble.clone()),
            _ => None,
        });
        assert_eq!(trouble.is_some(), is_trouble, "{trouble:?}");
        assert_eq!(shop.port("web"), 1);
    }
}
