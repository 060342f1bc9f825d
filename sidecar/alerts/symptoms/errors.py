"""Answers that say no, are broken, or stop half-way."""

from sidecar.alerts.message import ABOUT_JOB, choice, load, number, selecting, sentences, when
from sidecar.alerts.symptoms.symptom import Symptom, by_outcome, ended, share_of_many
from sidecar.alerts.values import AlertValues
from sidecar.rules.promql import MODEL, count

# Other paths may well answer 404 in good health: a file or a batch that is gone.
_ASKING = 'endpoint=~"messages|messages.count_tokens|complete"'
_REFUSED = f'outcome="client_error",status=~"401|402|403|404|429",{_ASKING}'
_MEANING = {
    "401": "the key is wrong or revoked",
    "402": "there is a problem with billing or credit",
    "403": "the key may not do this",
    "404": "the model's name is unknown: misspelt, retired, or not open to you",
    "429": "a spend limit is reached; waiting does not help, raising it does",
}
_SERVER_ERROR = 'outcome="server_error"'
_RECOVERED = 'result="recovered"'
_STALL = 'phase="stall"'
_TRUNCATED = 'outcome="truncated"'


def calls_refused(t: AlertValues) -> Symptom:
    """Watch client errors that no availability ratio counts, though with them nothing works."""
    window = t["window"]
    refused = count(MODEL, "claude_attempts_total", window, _REFUSED)
    statuses = f"sum by (status) (increase(claude_attempts_total{{%s,{_REFUSED}}}[{window}])) > 0"
    return Symptom(
        expr=share_of_many(t, refused, count(MODEL, "claude_attempts_total", window, _ASKING)),
        summary="Claude refuses {{ $value | humanizePercentage }} of the requests of {{ $labels.job }}"
        " to {{ $labels.model }}",
        description=sentences(
            selecting(MODEL),
            f"In {window}:{{{{ range printf `{statuses}` $of | query }}}}"
            f' {{{{ .Value | printf "%.0f" }}}} times {{{{ .Labels.status }}}},'
            f" {choice('status', _MEANING)}.{{{{ end }}}}",
            " Such answers come at once, and stay until somebody changes the key, the bill or the model.",
        ),
        dashboard="claude-overview",
    )


def server_errors(t: AlertValues) -> Symptom:
    """Watch calls that ended with a 5xx or an answer that cannot be read, all retries spent."""
    window = t["window"]
    calls = by_outcome("calls", window)
    return Symptom(
        expr=share_of_many(t, ended(calls, _SERVER_ERROR), ended(calls)),
        reads=(calls,),
        summary="{{ $value | humanizePercentage }} of the calls of {{ $labels.job }} to {{ $labels.model }}"
        " end in server errors",
        description=sentences(
            selecting(MODEL),
            f"{number('claude_calls_total', window, _SERVER_ERROR)} calls failed in {window}; retries saved"
            f" {number('claude_retried_calls_total', window, _RECOVERED)} more.",
            " Most likely an incident of the API: compare with its status page.",
            load(window),
        ),
        dashboard="claude-overview",
    )


def streams_stalling(t: AlertValues) -> Symptom:
    """Watch answers that began and fell silent until the timeout."""
    window = t["window"]
    stalls = count(MODEL, "claude_timeouts_total", window, _STALL)
    return Symptom(
        expr=share_of_many(t, stalls, count(MODEL, "claude_attempts_total", window)),
        summary="{{ $value | humanizePercentage }} of the answers of {{ $labels.model }} to {{ $labels.job }}"
        " fall silent half-way",
        description=sentences(
            selecting(MODEL),
            ABOUT_JOB,
            f"In {window} {number('claude_timeouts_total', window, _STALL)} answers began and then sent nothing until"
            f" the timeout; {number('claude_attempts_total', window, _TRUNCATED)} were cut off.",
            when(
                f"count(sum by (model) (increase(claude_timeouts_total{{%s,{_STALL}}}[{window}])) > 1) > 1",
                " Several models stall: look first at what they share on your side, such as proxies and load balancers"
                " that buffer or have an idle timeout.",
                " Only this model stalls, which points to the API.",
                of="job",
            ),
            " Retries do not help: a stream that has begun is never retried.",
        ),
        dashboard="claude-timeouts-retries",
    )


def truncated_streams(t: AlertValues) -> Symptom:
    """Watch streams that ended without an end: what SDKs take for success."""
    window = t["window"]
    cut = count(MODEL, "claude_calls_total", window, _TRUNCATED)
    return Symptom(
        expr=share_of_many(t, cut, count(MODEL, "claude_calls_total", window, 'stream="true"')),
        summary="{{ $value | humanizePercentage }} of the streams of {{ $labels.model }} to {{ $labels.job }}"
        " end without an end",
        description=sentences(
            selecting(MODEL),
            f"In {window} {number('claude_calls_total', window, _TRUNCATED)} streams stopped before message_stop;"
            f" another {number('claude_timeouts_total', window, _STALL)} fell silent until the timeout.",
            " Where the connection closes cleanly, an SDK reports success: users see half an answer.",
            " Most likely something between you and the API ends long connections (an idle timeout, a limit on"
            " duration); after a deploy of such a part, look there first.",
        ),
        dashboard="claude-timeouts-retries",
    )
