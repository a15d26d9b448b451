import torch

import ganedit


def test_the_library_does_in_a_few_lines_what_the_commands_do(tmp_path, network_path):
    network = ganedit.load(network_path, device="cpu")
    latent = ganedit.sample(network, [3, 42], truncation_psi=0.7)
    ganedit.save_latent(tmp_path / "a.pt", latent)
    path = ganedit.interpolate([ganedit.load_latent(tmp_path / "a.pt")], frames=5)
    frames = list(ganedit.synthesize(network, path))
    ganedit.write_video(tmp_path / "a.mp4", frames)
    ganedit.write_gif(tmp_path / "a.gif", frames)
    ganedit.write_image(tmp_path / "a.png", ganedit.image_grid(torch.cat(frames), columns=5))
    assert ganedit.read_image(tmp_path / "a.png").shape == (1, 3, 16, 80)
    mixed = ganedit.mix(latent.row(0), latent.row(1), layers=[0, 1])
    assert mixed.ws.shape == latent.ws[:1].shape
    half = ganedit.combine([latent], [0.5, 0.5])
    torch.testing.assert_close(half.ws, latent.ws.mean(0, keepdim=True))


def test_the_world_is_at_hand():
    heads = ganedit.render(ganedit.sample_factors([0]), resolution=16)
    assert ganedit.to_square(heads.image, 8).shape == (1, 3, 8, 8)


def test_a_volume_is_seen_from_around_and_becomes_a_mesh(tmp_path, triplane_path):
    network = ganedit.load(triplane_path, device="cpu")
    volume = ganedit.open_volume(network, ganedit.sample(network, [3]))
    cameras = network.generator.cameras_at([-0.5, 0.5], [0.0, 0.0])
    left, right = (view.image for view in ganedit.render_views(volume, cameras))
    assert not torch.equal(left, right)
    mesh = ganedit.volume_mesh(volume, resolution=16, level=0)
    ganedit.write_mesh(tmp_path / "head.ply", mesh)
    assert (tmp_path / "head.ply").stat().st_size > 100
    assert (ganedit.draw_mesh(mesh, cameras[:1], 16).image < 1).any()
