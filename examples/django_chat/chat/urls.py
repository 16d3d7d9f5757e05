"""URLs of the chat."""

from django.urls import path

from chat import views

urlpatterns = [
    path("", views.page, name="home"),
    path("threads/<uuid:pk>/", views.page, name="thread"),
    path("threads/<uuid:pk>/send/", views.send, name="send"),
    path("threads/<uuid:pk>/answer/", views.answer, name="answer"),
    path("threads/<uuid:pk>/branch/", views.branch, name="branch"),
    path("threads/<uuid:pk>/rename/", views.rename, name="rename"),
    path("threads/<uuid:pk>/delete/", views.delete, name="delete"),
    path("threads/<uuid:pk>/files/<str:sha>/", views.file, name="file"),
    path("runs/<str:run_id>/", views.events, name="events"),
    path("runs/<str:run_id>/stop/", views.stop, name="stop"),
]
