"""Names of exceptions in the languages of Sentry's SDKs, and the category of each; tocsin.categories has Python's.

A name is as the language writes it, with dots for `::` and `\\`: `PG.ConnectionBad`, `net.OpError`. What has no
package (JavaScript) stands alone. An SDK sends a name without its bases: what the layers find by those stands here by
its own name, of Python too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tocsin.categories import AUTH, CLIENT, DATABASE, DEPENDENCY, PYTHON, TIMEOUT, VALIDATION

_NAMES: Final[Mapping[str, str]] = {
    AUTH: """
        UnauthorizedError UnauthorizedException ForbiddenError ForbiddenException JsonWebTokenError TokenExpiredError
        NotBeforeError InvalidTokenError AuthApiError AuthSessionMissingError AuthInvalidCredentialsError
        AuthInvalidJwtError OAuth2Error
        org.springframework.security.* io.jsonwebtoken.* com.auth0.* javax.security.*
        java.nio.file.AccessDeniedException
        JWT.* Pundit.NotAuthorizedError CanCan.AccessDenied Warden.* Devise.*
        ActionController.InvalidAuthenticityToken
        Illuminate.Auth.* Illuminate.Session.TokenMismatchException Symfony.Component.Security.* Firebase.JWT.*
        Symfony.Component.HttpKernel.Exception.UnauthorizedHttpException
        Symfony.Component.HttpKernel.Exception.AccessDeniedHttpException
        System.Security.* Microsoft.IdentityModel.* Microsoft.AspNetCore.Authentication.*
        Microsoft.AspNetCore.Antiforgery.*
    """,
    VALIDATION: """
        ZodError ValidationError ValidationException ValidateError BadRequestException UnprocessableEntityException
        SequelizeValidationError PrismaClientValidationError
        javax.validation.* jakarta.validation.* org.springframework.validation.* org.springframework.web.bind.*
        org.hibernate.validator.*
        validator.ValidationErrors validator.InvalidValidationError
        ActiveRecord.RecordInvalid ActiveModel.ValidationError ActionController.ParameterMissing Dry.Validation.*
        Illuminate.Validation.* Symfony.Component.Validator.* Respect.Validation.*
        System.ComponentModel.DataAnnotations.ValidationException FluentValidation.*
    """,
    CLIENT: """
        AbortError BadRequestError NotFoundError NotFoundException PayloadTooLargeError RequestAbortedError
        org.apache.catalina.connector.ClientAbortException org.springframework.http.converter.*
        org.springframework.web.HttpRequestMethodNotSupportedException
        org.springframework.web.servlet.NoHandlerFoundException
        org.springframework.web.servlet.resource.NoResourceFoundException
        org.springframework.web.multipart.MaxUploadSizeExceededException
        http.MaxBytesError
        ActiveRecord.RecordNotFound ActionController.BadRequest ActionController.RoutingError
        ActionController.UnknownFormat ActionController.UnknownHttpMethod ActionDispatch.Http.Parameters.ParseError
        Rack.QueryParser.InvalidParameterError Rack.Multipart.EmptyContentError
        Symfony.Component.HttpKernel.Exception.NotFoundHttpException
        Symfony.Component.HttpKernel.Exception.MethodNotAllowedHttpException
        Symfony.Component.HttpKernel.Exception.BadRequestHttpException
        Illuminate.Database.Eloquent.ModelNotFoundException Illuminate.Http.Exceptions.PostTooLargeException
        Microsoft.AspNetCore.Http.BadHttpRequestException Microsoft.AspNetCore.Connections.*
    """,
    DATABASE: """
        PostgresError PostgrestError error PrismaClientKnownRequestError PrismaClientUnknownRequestError
        PrismaClientInitializationError PrismaClientRustPanicError QueryFailedError EntityNotFoundError
        KnexTimeoutError DrizzleQueryError DrizzleError SqliteError SqlError
        SequelizeDatabaseError SequelizeConnectionError SequelizeConnectionRefusedError SequelizeHostNotFoundError
        SequelizeConnectionTimedOutError SequelizeConnectionAcquireTimeoutError SequelizeTimeoutError
        SequelizeUniqueConstraintError SequelizeForeignKeyConstraintError
        MongoError MongoServerError MongoNetworkError MongoNetworkTimeoutError MongoServerSelectionError MongooseError
        MongooseServerSelectionError MongoPoolClearedError
        java.sql.* org.postgresql.* com.mysql.* org.mariadb.* oracle.jdbc.* com.microsoft.sqlserver.* org.h2.*
        com.zaxxer.hikari.* org.hibernate.* javax.persistence.* jakarta.persistence.* org.jooq.* org.mybatis.*
        org.springframework.dao.* org.springframework.jdbc.* org.springframework.orm.* com.mongodb.* io.r2dbc.*
        org.springframework.transaction.* org.flywaydb.* liquibase.*
        pq.* pgconn.* pgx.* mysql.* sqlite3.* mongo.* topology.* mssql.* clickhouse.*
        PG.* Mysql2.* Trilogy.* SQLite3.* ActiveRecord.* Sequel.* Mongo.* Mongoid.*
        PDOException mysqli_sql_exception Illuminate.Database.* Doctrine.* MongoDB.*
        Npgsql.* System.Data.* Microsoft.Data.* Microsoft.EntityFrameworkCore.* MySql.* MySqlConnector.*
        MongoDB.Driver.*
        Dapper.* Oracle.ManagedDataAccess.*
    """,
    TIMEOUT: """
        httpx.ConnectTimeout httpx.ReadTimeout httpx.WriteTimeout httpx.PoolTimeout
        requests.exceptions.ConnectTimeout requests.exceptions.ReadTimeout
        aiohttp.client_exceptions.ServerTimeoutError aiohttp.client_exceptions.ConnectionTimeoutError
        aiohttp.client_exceptions.SocketTimeoutError
        GatewayTimeoutException RequestTimeoutException ApplicationNotResponding
        java.net.SocketTimeoutException java.net.http.HttpTimeoutException java.net.http.HttpConnectTimeoutException
        java.util.concurrent.TimeoutException java.io.InterruptedIOException
        org.springframework.web.context.request.async.AsyncRequestTimeoutException
        io.sentry.android.core.ApplicationNotResponding
        context.deadlineExceededError os.deadlineExceededError poll.DeadlineExceededError http.httpError
        Timeout.Error Net.OpenTimeout Net.ReadTimeout Net.WriteTimeout Errno.ETIMEDOUT Faraday.TimeoutError
        Rack.Timeout.RequestTimeoutException HTTP.TimeoutError
        Symfony.Component.HttpClient.Exception.TimeoutException Illuminate.Queue.TimeoutExceededException
        Symfony.Component.Process.Exception.ProcessTimedOutException
        System.TimeoutException System.Threading.Tasks.TaskCanceledException Polly.Timeout.TimeoutRejectedException
    """,
    DEPENDENCY: """
        builtins.ConnectionRefusedError builtins.ConnectionResetError builtins.ConnectionAbortedError
        builtins.BrokenPipeError ssl.*
        AxiosError FetchError HTTPError RequestError NetworkError ResponseError AuthRetryableFetchError StorageApiError
        StorageUnknownError FunctionsHttpError FunctionsRelayError FunctionsFetchError ReplyError
        MaxRetriesPerRequestError SocketClosedUnexpectedlyError StripeConnectionError StripeAPIError APIConnectionError
        SocketError ServiceError BadGatewayException ServiceUnavailableException ConnectTimeoutError HeadersTimeoutError
        java.net.ConnectException java.net.UnknownHostException java.net.NoRouteToHostException java.net.SocketException
        java.net.http.* javax.net.ssl.* org.apache.http.* org.apache.hc.* okhttp3.* retrofit2.* feign.* io.grpc.*
        org.springframework.web.client.* org.springframework.web.reactive.function.client.* io.lettuce.* redis.clients.*
        org.apache.kafka.* com.rabbitmq.* org.springframework.amqp.* org.springframework.kafka.* io.netty.channel.*
        software.amazon.* com.amazonaws.* com.stripe.* org.elasticsearch.* io.github.resilience4j.*
        io.sentry.exception.SentryHttpClientException
        net.OpError net.DNSError net.AddrError url.Error tls.* x509.* status.Error amqp.* kafka.* redis.* smithy.*
        awserr.* proto.RedisError http.ResponseError
        Errno.ECONNREFUSED Errno.ECONNRESET Errno.EHOSTUNREACH Errno.ENETUNREACH Errno.EPIPE Errno.ECONNABORTED
        OpenSSL.SSL.SSLError Net.* Faraday.* RestClient.* HTTParty.* Excon.* HTTP.* Redis.* RedisClient.* Aws.* Stripe.*
        GRPC.* Bunny.* Typhoeus.*
        GuzzleHttp.* Symfony.Component.HttpClient.* Symfony.Component.Mailer.* Illuminate.Http.Client.* Predis.* Aws.*
        RedisException SoapFault Stripe.* PhpAmqpLib.*
        System.Net.* Grpc.* StackExchange.Redis.* RabbitMQ.* Confluent.Kafka.* Amazon.* Azure.* Refit.* Stripe.*
        Polly.CircuitBreaker.*
    """,
}

KNOWN: Final[Mapping[str, str]] = {
    **PYTHON,
    **{name: category for category, names in _NAMES.items() for name in names.split()},
}
"""Every name that is known without configuration."""

ENDINGS: Final[Mapping[str, str]] = {
    "Timeout": TIMEOUT,
    "TimeoutError": TIMEOUT,
    "TimeoutException": TIMEOUT,
    "TimedOutError": TIMEOUT,
}
"""What a class of anybody's is called that says that something took too long."""

CODES: Final[Mapping[str, str]] = {
    "ECONNREFUSED": DEPENDENCY,
    "ECONNRESET": DEPENDENCY,
    "EHOSTUNREACH": DEPENDENCY,
    "ENETUNREACH": DEPENDENCY,
    "ENOTFOUND": DEPENDENCY,
    "EAI_AGAIN": DEPENDENCY,
    "EPIPE": DEPENDENCY,
    "socket hang up": DEPENDENCY,
    "fetch failed": DEPENDENCY,
    "Failed to fetch": DEPENDENCY,
    "NetworkError when attempting to fetch": DEPENDENCY,
    "HTTP Client Error": DEPENDENCY,
    "ETIMEDOUT": TIMEOUT,
    "ESOCKETTIMEDOUT": TIMEOUT,
}
"""What the messages of JavaScript's runtimes say, as they raise a plain Error or TypeError for them."""
