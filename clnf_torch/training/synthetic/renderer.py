"""Renderer of small scenes through OpenGL, which Mesa runs on the processor where there is no card."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from clnf_torch.training.synthetic.shaders import (
    LAMPS,
    SHADOW_FRAGMENT,
    SHADOW_VERTEX,
    SURFACE_FRAGMENT,
    SURFACE_VERTEX,
)

# Images are drawn at so many times their side and averaged
SUPERSAMPLING = 2
# Pixels of a lamp's view of the head, and how far from its middle it sees, mm
SHADOW_SIDE, SHADOW_REACH = 512, 260.0
# What the camera sees, mm
NEAR, FAR = 100.0, 20000.0
MISSING_MODERNGL = 'rendering needs OpenGL by the package moderngl: pip install "clnf-torch[synthetic]"'


@dataclass(frozen=True, kw_only=True)
class Material:
    """How a surface takes light."""

    roughness: float = 0.5
    gloss: float = 0.03  # share of light mirrored straight on; 0 for none
    translucency: float = 0.0  # 1: light bleeds around edges as in skin
    bump: float = 0.0  # mm that the texture's alpha raises the surface
    cutout: bool = False  # alpha is coverage: hair, lashes


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Triangles in the camera's axes with a texture."""

    vertices: Tensor  # (V, 3) mm: x to the right, y down, z away from the camera
    normals: Tensor  # (V, 3) unit vectors
    places: Tensor  # (V, 2) in the texture, 0 to 1, v from its first row downwards
    triangles: Tensor  # (T, 3) int32
    texture: Tensor  # (H, W, 4) uint8 RGBA
    material: Material
    openness: Tensor | None = None  # (V,) share of the surroundings that a vertex sees; all of them where None


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """Three lamps far away, which throw shadows, and light from all around."""

    directions: Tensor  # (3, 3) unit vectors towards the lamps
    colours: Tensor  # (3, 3) linear RGB
    harmonics: Tensor  # (9, 3) spherical harmonics of the light from around, linear RGB


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What the camera sees."""

    colour: Tensor  # (3, S, S) float32, 0 to 1, of what is drawn, times its coverage
    coverage: Tensor  # (S, S) 0 to 1
    depth: Tensor  # (2 S, 2 S) mm along the camera's axis; infinite where nothing is


class _Loaded(NamedTuple):
    """A surface in OpenGL, which frees none of these by itself."""

    depth: Any  # vertex arrays of both programs
    surface: Any
    texture: Any
    numbers: Any  # buffers: of the vertices, and the triangles' corners
    order: Any


class Renderer:
    """Draws scenes of one size."""

    def __init__(self, side: int) -> None:
        """Opens OpenGL without a window.

        Args:
            side: Of the images, S pixels.

        Raises:
            ModuleNotFoundError: moderngl is not installed.
            RuntimeError: There is no OpenGL on this machine.
        """
        try:
            import moderngl
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(MISSING_MODERNGL, name="moderngl") from error
        self.side, self._gl = side, moderngl
        self._context = _open(moderngl)
        self._depth = self._context.program(SHADOW_VERTEX, SHADOW_FRAGMENT)
        self._surface = self._context.program(SURFACE_VERTEX, SURFACE_FRAGMENT)
        drawn = (SUPERSAMPLING * side, SUPERSAMPLING * side)
        self._depths = self._context.depth_texture(drawn)
        self._frame = self._context.framebuffer([self._context.texture(drawn, 4, dtype="f2")], self._depths)
        self._shadows = [self._context.depth_texture((SHADOW_SIDE, SHADOW_SIDE)) for _ in range(LAMPS)]
        self._shadow_frames = [self._context.framebuffer(depth_attachment=texture) for texture in self._shadows]
        for texture in self._shadows:
            texture.compare_func, texture.repeat_x, texture.repeat_y = "<=", False, False

    def render(
        self, surfaces: list[Surface], lighting: Lighting, focal: float, center: Tensor, middle: Tensor
    ) -> Picture:
        """Draws a scene.

        Args:
            surfaces: Opaque ones before those that are cut out by their texture.
            lighting: Its lamps and surroundings.
            focal: Focal length of the camera, pixels.
            center: Its principal point (x, y), pixels, where 0 is the middle of the first pixel.
            middle: The point (3,), mm, around which lamps see shadows.
        """
        context, gl = self._context, self._gl
        loaded = [self._load(surface) for surface in surfaces]
        views = [_lamp_view(direction, middle) for direction in lighting.directions]
        context.enable(gl.DEPTH_TEST)
        for frame, view in zip(self._shadow_frames, views, strict=True):
            frame.use()
            frame.clear(depth=1.0)
            self._depth["view"].write(_bytes(view.T))
            for surface, own in zip(surfaces, loaded, strict=True):
                own.texture.use(0)
                self._depth["cutout"].value = surface.material.cutout
                own.depth.render()
        self._frame.use()
        self._frame.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        self._set_scene(lighting, views, _projection(focal, center, self.side))
        self._draw(surfaces, loaded)
        picture = self._read()
        for resource in (resource for resources in loaded for resource in resources):
            resource.release()
        return picture

    def _load(self, surface: Surface) -> _Loaded:
        """A surface in OpenGL."""
        context = self._context
        openness = torch.ones(len(surface.vertices)) if surface.openness is None else surface.openness
        table = torch.cat((surface.vertices, surface.normals, surface.places, openness[:, None]), 1)
        numbers, order = context.buffer(_bytes(table)), context.buffer(_bytes(surface.triangles.int()))
        height, width = surface.texture.shape[:2]
        texture = context.texture((width, height), 4, surface.texture.contiguous().numpy().tobytes())
        # Without anisotropy, whose loop in Mesa's software renderer does not end for some triangles seen edge-on
        texture.build_mipmaps()
        layout = (numbers, "3f 3f 2f 1f", "position", "direction", "place", "open")
        depth_layout = (numbers, "3f 12x 2f 4x", "position", "place")
        return _Loaded(
            context.vertex_array(self._depth, [depth_layout], index_buffer=order),
            context.vertex_array(self._surface, [layout], index_buffer=order),
            texture,
            numbers,
            order,
        )

    def _set_scene(self, lighting: Lighting, views: list[Tensor], projection: Tensor) -> None:
        program = self._surface
        for number, texture in enumerate(self._shadows):
            texture.use(1 + number)
            program[f"shadow{number}"].value = 1 + number
        program["projection"].write(_bytes(projection.T))
        program["lamp_views"].write(_bytes(torch.stack([view.T for view in views])))
        program["lamp_directions"].write(_bytes(lighting.directions))
        program["lamp_colours"].write(_bytes(lighting.colours))
        program["harmonics"].write(_bytes(lighting.harmonics))

    def _draw(self, surfaces: list[Surface], loaded: list[_Loaded]) -> None:
        """Solid parts first, then what covers its pixels in part, which leaves the depths alone."""
        context, gl = self._context, self._gl
        for thin in (False, True):
            if thin:
                context.enable(gl.BLEND)
                context.blend_func = (gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA)
                self._frame.depth_mask = False
            for surface, own in zip(surfaces, loaded, strict=True):
                material = surface.material
                if thin and not material.cutout:
                    continue
                own.texture.use(0)
                for name in ("roughness", "gloss", "translucency", "bump"):
                    self._surface[name].value = getattr(material, name)
                self._surface["alpha"].value = int(material.cutout) + int(thin)
                own.surface.render()
        context.disable(gl.BLEND)
        self._frame.depth_mask = True

    def _read(self) -> Picture:
        side = SUPERSAMPLING * self.side
        raw = torch.frombuffer(bytearray(self._frame.read(components=4, dtype="f2")), dtype=torch.float16)
        drawn = raw.view(side, side, 4).permute(2, 0, 1).float()
        depth = torch.frombuffer(bytearray(self._depths.read()), dtype=torch.float32).view(side, side)
        small = torch.nn.functional.avg_pool2d(drawn, SUPERSAMPLING)
        distance = 2 * NEAR * FAR / (FAR + NEAR - (2 * depth - 1) * (FAR - NEAR))
        return Picture(colour=small[:3], coverage=small[3], depth=distance.masked_fill(depth >= 1, torch.inf))


def _open(moderngl: Any) -> Any:
    """A context of OpenGL 3.3: by EGL, which needs no screen, else as the system offers it."""
    try:
        return moderngl.create_context(standalone=True, backend="egl")
    except Exception:  # whatever the driver raises
        try:
            return moderngl.create_context(standalone=True)
        except Exception as error:
            raise RuntimeError(
                f"no OpenGL 3.3 here ({error}); on Debian: apt install libegl1 libgl1-mesa-dri"
            ) from error


def _projection(focal: float, center: Tensor, side: int) -> Tensor:
    """Clip coordinates of points in the camera's axes, with the image's first row first, shape (4, 4)."""
    projection = torch.zeros(4, 4)
    projection[0, 0] = projection[1, 1] = 2 * focal / side
    projection[:2, 2] = 2 * (center + 0.5) / side - 1
    projection[2, 2], projection[2, 3] = (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    projection[3, 2] = 1
    return projection


def _lamp_view(direction: Tensor, middle: Tensor) -> Tensor:
    """Parallel projection (4, 4) along a lamp's rays of what lies around a point."""
    ahead = -direction / direction.norm()
    helper = torch.tensor([0.0, 1.0, 0.0]) if ahead[1].abs() < 0.9 else torch.tensor([1.0, 0.0, 0.0])
    right = torch.linalg.cross(helper, ahead)
    right = right / right.norm()
    axes = torch.stack((right, torch.linalg.cross(ahead, right), ahead)) / SHADOW_REACH
    view = torch.eye(4)
    view[:3, :3], view[:3, 3] = axes, -axes @ middle
    return view


def _bytes(numbers: Tensor) -> bytes:
    return bytes(numbers.contiguous().numpy().tobytes())
