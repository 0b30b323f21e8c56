package ephemeron;

import com.fasterxml.jackson.databind.ObjectMapper;
import ephemeron.client.ApiClient;
import ephemeron.client.ApiException;
import ephemeron.client.JSON;
import ephemeron.client.api.AuthApi;
import ephemeron.client.api.BackendApi;
import ephemeron.client.api.PresetsApi;
import ephemeron.client.api.ServicesApi;
import ephemeron.client.model.AppLogin;
import ephemeron.client.model.CreatedService;
import ephemeron.client.model.Error;
import ephemeron.client.model.Event;
import ephemeron.client.model.Kind;
import ephemeron.client.model.Login;
import ephemeron.client.model.NewEnd;
import ephemeron.client.model.NewService;
import ephemeron.client.model.Outcome;
import ephemeron.client.model.Phase;
import ephemeron.client.model.Service;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.UUID;
import java.util.stream.Stream;

/** The whole life of a service, with the client of openapi-generator (library native). */
public final class Life {
    private static final HttpClient HTTP = HttpClient.newHttpClient();
    private static final ObjectMapper MAPPER = JSON.getDefault().getMapper();

    private static String need(String name) {
        String value = System.getenv(name);
        check(value != null, name + " is not set");
        return value;
    }

    private static void check(boolean holds, Object otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }

    private static ApiClient anonymous() {
        ApiClient client = new ApiClient();
        client.updateBaseUri(need("API_URL"));
        return client;
    }

    /** A token lives for five minutes: a backend gets one for each user, when that user needs something. */
    private static ApiClient withToken(String token) {
        return anonymous()
                .setRequestInterceptor(request -> request.header("Authorization", "Bearer " + token));
    }

    /** A service's page. Names below `localhost` have no DNS: elsewhere the request is to service.getUrl(). */
    private static String open(Service service) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(need("GATEWAY")))
                .header("Host", service.getHost())
                .build();
        HttpResponse<String> answer = HTTP.send(request, BodyHandlers.ofString());
        check(answer.statusCode() == 200, "the service answers " + answer.statusCode());
        return answer.body();
    }

    /** The events of a service as they come in. The generated method would wait for the end of them all. */
    private static Stream<Event> events(String id, String token) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(need("API_URL") + "/" + id + "/events"))
                .header("Authorization", "Bearer " + token)
                .build();
        HttpResponse<Stream<String>> answer = HTTP.send(request, BodyHandlers.ofLines());
        check(answer.statusCode() == 200, "the stream is refused: " + answer.statusCode());
        // The data of an event is JSON in one line.
        String field = "data: ";
        return answer.body()
                .filter(line -> line.startsWith(field))
                .map(line -> {
                    try {
                        return MAPPER.readValue(line.substring(field.length()), Event.class);
                    } catch (IOException error) {
                        throw new AssertionError(line, error);
                    }
                });
    }

    private interface Call {
        Object call() throws ApiException;
    }

    /** The request is refused with this status; what the API says. */
    private static Error refused(int status, Call call) throws IOException {
        try {
            throw new AssertionError("it was not refused: " + call.call());
        } catch (ApiException refused) {
            check(refused.getCode() == status, refused);
            return MAPPER.readValue(refused.getResponseBody(), Error.class);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String app = need("APP");
        String key = need("KEY");
        String preset = need("PRESET");
        String uid = "java-" + UUID.randomUUID();

        // Who calls: a backend, for one of its users.
        AuthApi auth = new AuthApi(anonymous());
        String token = auth.login(new Login().app(app).key(key).uid(uid)).getToken();
        ServicesApi api = new ServicesApi(withToken(token));

        // What there is.
        check(
                new PresetsApi(withToken(token))
                        .listPresets().getPresets().stream().anyMatch(one -> one.getName().equals(preset)),
                "there is no preset " + preset);

        // Create. Sent again with the same key, it is the same service.
        NewService wanted = new NewService().preset(preset).lifetimeMinutes(10);
        String once = UUID.randomUUID().toString();
        CreatedService created = api.createService(wanted, once);
        String id = created.getId();
        check(api.createService(wanted, once).getId().equals(id), "it was created twice");

        // What the preset does not take is told by name.
        NewService wrong = new NewService().preset(preset).lifetimeMinutes(10).putParametersItem("colour", "red");
        Error why = refused(422, () -> api.createService(wrong, null));
        check(why.getFaults().get(0).getPointer().equals("/colour"), why);

        // Wait until it is available, and open it.
        Service available = api.readService(id, 120);
        check(available.getPhase() == Phase.AVAILABLE, available);
        check(open(available).contains("Welcome to nginx!"), "it is not nginx that answers");

        // It lives longer.
        OffsetDateTime end = api.extendService(id, new NewEnd().lifetimeMinutes(60)).getExpirationTime();
        check(end.isAfter(created.getExpirationTime()), "it does not live longer");
        List<Service> services = api.listServices(null, null, null, null, null, null).getServices();
        check(services.size() == 1 && services.get(0).getId().equals(id), services);
        check(services.get(0).getExpirationTime().isEqual(end), services);

        // Follow it to its end. The stream begins with the service as it is.
        List<Kind> kinds = new ArrayList<>();
        try (Stream<Event> events = events(id, token)) {
            for (Iterator<Event> each = events.iterator(); each.hasNext(); ) {
                Event event = each.next();
                if (kinds.isEmpty()) {
                    check(event.getService().getId().equals(id), event);
                    api.deleteService(id);
                }
                kinds.add(event.getKind());
            }
        }
        check(kinds.get(0) == Kind.SERVICE && kinds.get(kinds.size() - 1) == Kind.GONE, kinds);

        // Nothing is left of it.
        Error missing = refused(404, () -> api.readService(id, null));
        check(missing.getMessage().contains(id), missing);

        // The backend itself sees the services of all its users, and can delete many at once.
        CreatedService second = api.createService(wanted, null);
        ApiClient backend = withToken(auth.loginApp(new AppLogin().app(app).key(key)).getToken());
        ServicesApi all = new ServicesApi(backend);
        services = all.listServices(null, null, uid, null, null, null).getServices();
        check(services.size() == 1 && services.get(0).getId().equals(second.getId()), services);
        check(services.get(0).getUser().equals(uid + "." + app), services);
        Outcome outcome = new BackendApi(backend).deleteServices(uid, null, null, null);
        check(outcome.equals(new Outcome().matched(1).done(1).failed(0).failures(List.of())), outcome);
        check(all.listServices(null, null, uid, null, null, null).getServices().isEmpty(), "something is left");

        System.out.println("java: " + id + " has lived, from its creation to its end");
    }
}
