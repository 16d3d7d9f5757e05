"""URLs of the project."""

from chat.views import SignUp
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

urlpatterns = [
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("signup/", SignUp.as_view(), name="signup"),
    path("", include("chat.urls")),
]
