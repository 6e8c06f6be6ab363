"""Settings of the console. Everything that differs between installations comes from the environment."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from backupsite import environment

BASE_DIR = Path(__file__).resolve().parent.parent
HOTFLEET_HOME = environment.home_directory(BASE_DIR)
HOTFLEET_PORT = environment.read_port("HOTFLEET_PORT", 8700)
# A home that shows a fleet which does not exist; nothing in it ever reaches a device.
HOTFLEET_IS_DEMO = environment.is_demo(HOTFLEET_HOME)
CONSOLE_ID = environment.console_id(HOTFLEET_HOME)
# What this machine is: the console's own, or a node that joined it.
HOTFLEET_JOINED = environment.joined(HOTFLEET_HOME)
HOTFLEET_NODE = HOTFLEET_JOINED.node
HOTFLEET_ORIGINS = environment.origins(HOTFLEET_PORT)

DEBUG = False
SECRET_KEY = environment.secret_key(HOTFLEET_HOME)
ALLOWED_HOSTS = sorted({urlsplit(origin).hostname or "" for origin in HOTFLEET_ORIGINS})
CSRF_TRUSTED_ORIGINS = HOTFLEET_ORIGINS
IS_BEHIND_TLS = all(origin.startswith("https://") for origin in HOTFLEET_ORIGINS)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_rq",
    "channels",
    "backupsite.web",
    "backupsite.accounts",
    "backupsite.alerts",
    "backupsite.fleet",
    "backupsite.repositories",
    "backupsite.policies",
    "backupsite.runs",
    "backupsite.recovery",
    "backupsite.console",
    "backupsite.serve",
    "backupsite.demo",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "backupsite.accounts.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "backupsite.accounts.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

if HOTFLEET_IS_DEMO:
    MIDDLEWARE.append("backupsite.demo.middleware.DemoMiddleware")

ROOT_URLCONF = "backupsite.urls"
ASGI_APPLICATION = "backupsite.asgi.application"
WSGI_APPLICATION = "backupsite.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "backupsite.web.context.frame",
            ],
            "builtins": ["backupsite.web.templatetags.hotfleet", "django.templatetags.static"],
        },
    }
]

DATABASE_URL = environment.read("DATABASE_URL") or HOTFLEET_JOINED.database_url
DATABASES = {"default": environment.database(DATABASE_URL, HOTFLEET_HOME)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "fleet"
SESSION_ENGINE = "backupsite.accounts.sessions"
SESSION_COOKIE_NAME = "__Host-hotfleet" if IS_BEHIND_TLS else "hotfleet"
SESSION_COOKIE_AGE = 60 * 60 * 24 * 14
SESSION_COOKIE_SECURE = IS_BEHIND_TLS
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = "__Host-csrf" if IS_BEHIND_TLS else "csrf"
CSRF_COOKIE_SECURE = IS_BEHIND_TLS
CSRF_COOKIE_HTTPONLY = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if IS_BEHIND_TLS else None
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "manifest-src": ["'self'"],
    }
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = HOTFLEET_HOME / "static"
WHITENOISE_ALLOW_ALL_ORIGINS = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "backupsite.web.staticfiles.ManifestStorage"},
}

# Without REDIS_URL `manage.py serve` runs a Valkey of its own at this socket.
_HAS_REDIS = bool(environment.read("REDIS_URL") or HOTFLEET_JOINED.redis_url)
VALKEY_SOCKET = None if _HAS_REDIS else environment.valkey_socket(HOTFLEET_HOME)
REDIS_URL = environment.redis_url(VALKEY_SOCKET, HOTFLEET_JOINED.redis_url)
# Runs that may be worked on at the same time on this machine, by queue.
HOTFLEET_WORKERS = {
    "interactive": environment.read_count("HOTFLEET_INTERACTIVE_WORKERS", 2),
    "bulk": environment.read_count("HOTFLEET_BULK_WORKERS", 4),
}
# Logs of databases that this machine follows at the same time.
HOTFLEET_STREAMS = environment.read_count("HOTFLEET_STREAMS", 100)
RQ_QUEUES = {
    name: {"URL": REDIS_URL, "DEFAULT_TIMEOUT": -1, "SERIALIZER": "rq.serializers.JSONSerializer"}
    for name in ("interactive", "bulk")
}
RQ_SHOW_ADMIN_LINK = False
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "hotfleet"},
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": environment.log_level()},
    "loggers": {
        "paramiko": {"level": "WARNING"},
        "rq.worker": {"level": "WARNING"},
        # Every 404 and 405 is a warning to Django; an answer of 500 is an error.
        "django.request": {"level": "ERROR"},
    },
}
