"""Programs of the renderer in GLSL: depth seen from a lamp, and surfaces lit by lamps and their surroundings."""

LAMPS = 3

SHADOW_VERTEX = """
#version 330
uniform mat4 view;
in vec3 position;
in vec2 place;
out vec2 uv;
void main() { uv = place; gl_Position = view * vec4(position, 1.0); }
"""

SHADOW_FRAGMENT = """
#version 330
uniform sampler2D albedo;
uniform bool cutout;
in vec2 uv;
void main() { if (cutout && texture(albedo, uv).a < 0.5) discard; }
"""

SURFACE_VERTEX = """
#version 330
uniform mat4 projection;
in vec3 position;
in vec3 direction;
in vec2 place;
in float open;
out vec3 point;
out vec3 normal;
out vec2 uv;
out float sky;
void main() {
    point = position; normal = direction; uv = place; sky = open;
    gl_Position = projection * vec4(position, 1.0);
}
"""

SURFACE_FRAGMENT = """
#version 330
#define LAMPS 3
uniform sampler2D albedo;
uniform sampler2DShadow shadow0, shadow1, shadow2;
uniform mat4 lamp_views[LAMPS];
uniform vec3 lamp_directions[LAMPS], lamp_colours[LAMPS];
uniform vec3 harmonics[9];
uniform float roughness, gloss, translucency, bump;
// How alpha is read: 0 as height of the skin, 1 as coverage of which only the thick part is drawn, 2 of which the thin
uniform int alpha;
in vec3 point, normal;
in vec2 uv;
in float sky;
out vec4 colour;

vec3 surroundings(vec3 n) {
    return max(harmonics[0] + harmonics[1] * n.y + harmonics[2] * n.z + harmonics[3] * n.x + harmonics[4] * n.x * n.y
        + harmonics[5] * n.y * n.z + harmonics[6] * (3.0 * n.z * n.z - 1.0) + harmonics[7] * n.x * n.z
        + harmonics[8] * (n.x * n.x - n.y * n.y), 0.0);
}

float light_through(sampler2DShadow shadow, mat4 view, vec3 n) {
    vec4 seen = view * vec4(point + 1.2 * n, 1.0);
    vec3 place = seen.xyz * 0.5 + 0.5;
    float sum = 0.0, step = 1.3 / float(textureSize(shadow, 0).x);
    for (int row = -1; row <= 1; row++)
        for (int column = -1; column <= 1; column++)
            sum += texture(shadow, vec3(place.xy + step * vec2(column, row), place.z - 0.004));
    return sum / 9.0;
}

vec3 bumped(vec3 n) {
    float height = texture(albedo, uv).a * bump;
    vec3 across = dFdx(point), down = dFdy(point);
    vec3 r1 = cross(down, n), r2 = cross(n, across);
    float area = dot(across, r1);
    vec3 slope = sign(area) * (dFdx(height) * r1 + dFdy(height) * r2);
    return normalize(abs(area) * n - slope);
}

vec3 lit(vec3 n, vec3 base, vec3 to_eye, int lamp, float open) {
    vec3 l = lamp_directions[lamp], h = normalize(l + to_eye);
    float cosine = dot(n, l), a = roughness * roughness;
    vec3 wrap = translucency * vec3(0.45, 0.18, 0.10);
    vec3 diffuse = base * max((cosine + wrap) / ((1.0 + wrap) * (1.0 + wrap)), 0.0);
    float nh = max(dot(n, h), 0.0), nv = max(dot(n, to_eye), 0.05), nl = max(cosine, 0.0);
    float spread = a * a / (3.14159 * pow(nh * nh * (a * a - 1.0) + 1.0, 2.0));
    float fresnel = gloss + (1.0 - gloss) * pow(1.0 - max(dot(h, to_eye), 0.0), 5.0);
    float k = (roughness + 1.0) * (roughness + 1.0) / 8.0;
    float masked = 1.0 / ((nv * (1.0 - k) + k) * (nl * (1.0 - k) + k));
    float shine = min(spread * fresnel * masked / 4.0, 30.0) * nl;
    // Thin red light passes where the shadow begins
    vec3 through = mix(vec3(open), vec3(1.0), translucency * vec3(0.10, 0.02, 0.01));
    return lamp_colours[lamp] * through * (diffuse + shine * (gloss > 0.0 ? 1.0 : 0.0));
}

void main() {
    vec4 texel = texture(albedo, uv);
    if (alpha == 1 && texel.a < 0.6) discard;
    if (alpha == 2 && (texel.a >= 0.6 || texel.a < 0.02)) discard;
    vec3 to_eye = normalize(-point), n = normalize(normal);
    if (alpha > 0 && dot(n, to_eye) < 0.0) n = -n;
    vec3 flat_normal = n;
    if (alpha == 0 && bump > 0.0) n = bumped(n);
    vec3 base = pow(texel.rgb, vec3(2.2)), sum = base * surroundings(n) * sky;
    sum += lit(n, base, to_eye, 0, light_through(shadow0, lamp_views[0], flat_normal)) * mix(0.35, 1.0, sky);
    sum += lit(n, base, to_eye, 1, light_through(shadow1, lamp_views[1], flat_normal)) * mix(0.35, 1.0, sky);
    sum += lit(n, base, to_eye, 2, light_through(shadow2, lamp_views[2], flat_normal)) * mix(0.35, 1.0, sky);
    float mirror = gloss + (1.0 - gloss) * pow(1.0 - max(dot(n, to_eye), 0.0), 5.0);
    sum += surroundings(reflect(-to_eye, n)) * mirror * pow(1.0 - roughness, 3.0) * sky * (gloss > 0.0 ? 1.0 : 0.0);
    colour = vec4(pow(sum / (1.0 + 0.25 * sum), vec3(1.0 / 2.2)), alpha == 2 ? texel.a : 1.0);
}
"""
